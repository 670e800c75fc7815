import { Command, Option } from 'commander';
import { LINK_LOCAL_HOSTS, type Verbosity } from '../config/config.ts';
import { reader } from '../config/flag-reader.ts';
import { ENVIRONMENT_PREFIX, verbosityOption } from '../config/server-options.ts';
import { wholeNumber } from '../config/values.ts';
import type { Log } from '../telemetry/log.ts';
import { adminSocketOption } from './admin-option.ts';

/** The variable behind `--server-uid`. */
export const SERVER_UID_VARIABLE = `${ENVIRONMENT_PREFIX}SERVER_UID`;

interface InitializeFlags {
  adminSocket: string;
  serverUid?: number;
  remove?: true;
  verbosity: Verbosity;
}

/** `initialize`: makes the node ready for the server, as root, before each start of it. */
export function initializeCommand(): Command {
  return new Command('initialize')
    .description('give this node the addresses that pods ask (as root, before the server)')
    .option('--remove', 'undo it')
    .addOption(
      new Option('--server-uid <uid>', 'user that the server runs as (default: this one)')
        .env(SERVER_UID_VARIABLE)
        .argParser(reader(wholeNumber(0, 2 ** 32 - 2))),
    )
    .addOption(adminSocketOption())
    .addOption(verbosityOption())
    .action(async (flags: InitializeFlags, command: Command) => {
      const { createLog } = await import('../telemetry/log.ts');
      const log = createLog(flags.verbosity);
      const socketNamed =
        flags.serverUid !== undefined || command.getOptionValueSource('adminSocket') !== 'default';
      try {
        if (flags.remove) await remove(flags, log);
        else await initialize(flags, socketNamed, log);
      } catch (error) {
        log.fatal({ reason: (error as Error).message }, 'the node cannot be made ready');
        process.exitCode = 1;
      }
      log.flush();
    });
}

async function initialize(flags: InitializeFlags, socketNamed: boolean, log: Log): Promise<void> {
  const [{ setUpLink }, { switchOnRequestMigration }, { AdminFolder, AdminFolderError }] =
    await rooms();
  const folder = new AdminFolder(flags.adminSocket);
  const uid = flags.serverUid ?? process.getuid?.() ?? 0;
  let hasFolder = true;
  try {
    await folder.prepare(uid);
    log.debug({ uid }, 'folder of the admin socket is there');
  } catch (error) {
    // The existing agent's manifests give no place for it; the server goes on without it too.
    if (socketNamed || !(error instanceof AdminFolderError)) throw error;
    log.warn({ reason: error.message }, 'going on without an admin socket');
    hasFolder = false;
  }
  const wasOff = await switchOnRequestMigration(log);
  if (wasOff && hasFolder) await folder.markMigration();
  await setUpLink(LINK_LOCAL_HOSTS, log);
  log.info('the node is ready');
}

async function remove(flags: InitializeFlags, log: Log): Promise<void> {
  const [{ removeLink }, { switchOffRequestMigration }, { AdminFolder }] = await rooms();
  const folder = new AdminFolder(flags.adminSocket);
  await removeLink(log);
  if (await folder.migrationMarked()) await switchOffRequestMigration(log);
  if (await folder.remove()) log.info('folder of the admin socket removed');
}

/** Loaded here, so that other commands cost no time for it. */
function rooms() {
  return Promise.all([
    import('../network/link.ts'),
    import('../network/request-migration.ts'),
    import('../listener/admin-folder.ts'),
  ]);
}
