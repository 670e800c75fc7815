import { Command, Option } from 'commander';
import { DEFAULT_ADMIN_SOCKET } from '../config/config.ts';
import { ENVIRONMENT_PREFIX } from '../config/server-options.ts';
import { AdminClientError, askBroker } from '../listener/admin-client.ts';

interface FlushFlags {
  adminSocket: string;
  namespace?: string;
  serviceAccount?: string;
}

/** `flush`: has the broker on this node fetch sessions anew, for instance after a role changed. */
export function flushCommand(): Command {
  return new Command('flush')
    .description('let go of sessions, so that they are fetched anew when next asked for')
    .option('--namespace <name>', 'of this namespace only')
    .option('--service-account <name>', 'of this service account of the namespace only')
    .addOption(
      new Option('--admin-socket <path>', "the broker's admin socket")
        .env(`${ENVIRONMENT_PREFIX}ADMIN_SOCKET`)
        .default(DEFAULT_ADMIN_SOCKET),
    )
    .action(async ({ adminSocket, ...chosen }: FlushFlags, command: Command) => {
      if (chosen.serviceAccount !== undefined && chosen.namespace === undefined) {
        command.error('error: --service-account needs --namespace');
      }
      try {
        const answer = await askBroker(adminSocket, 'POST', '/flush', chosen);
        const { flushed } = answer as { flushed: number };
        process.stdout.write(`${flushed} ${flushed === 1 ? 'session' : 'sessions'} flushed\n`);
      } catch (error) {
        if (!(error instanceof AdminClientError)) throw error;
        process.stderr.write(`error: ${error.message}\n`);
        process.exitCode = 1;
      }
    });
}
