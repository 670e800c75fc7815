import { readFile, writeFile } from 'node:fs/promises';
import type { Log } from '../telemetry/log.ts';

/** Linux 5.14 and newer; a setting of the network namespace. */
const SETTING = '/proc/sys/net/ipv4/tcp_migrate_req';

/**
 * Has the kernel hand connections that a socket has not accepted when it closes to another
 * socket of the same port, so that an upgrade loses none. It applies to sockets that are opened
 * afterwards.
 *
 * @returns Whether it was off until now.
 * @see https://docs.kernel.org/networking/ip-sysctl.html, `tcp_migrate_req`
 */
export async function switchOnRequestMigration(log: Log): Promise<boolean> {
  const before = await readFile(SETTING, 'utf8').catch(() => undefined);
  if (before === undefined) {
    log.debug('the kernel has no tcp_migrate_req; upgrades may reset a few connections');
    return false;
  }
  if (before.trim() !== '0') return false;
  try {
    await writeFile(SETTING, '1');
  } catch (error) {
    // As in a container that is not privileged, where /proc/sys is read-only.
    const reason = (error as Error).message;
    log.warn({ reason }, 'tcp_migrate_req stays off; upgrades may reset a few connections');
    return false;
  }
  log.info('tcp_migrate_req switched on');
  return true;
}

/** Switches it off again. */
export async function switchOffRequestMigration(log: Log): Promise<void> {
  await writeFile(SETTING, '0');
  log.info('tcp_migrate_req switched off');
}
