import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';

/** Where `ip` is when `PATH`, as a pod's environment, does not say. */
const PATHS = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin'];

/**
 * Runs `ip`.
 *
 * @param input - What `-batch -` reads.
 * @throws Error with its complaint.
 */
export function ip(args: readonly string[], input = ''): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile(ipPath(), args, (error, _stdout, stderr) => {
      if (error === null) resolve();
      else reject(new Error(`ip ${args.join(' ')}: ${stderr.trim() || error.message}`));
    });
    // It may have ended without reading; why, it says itself.
    child.stdin?.on('error', () => undefined).end(input);
  });
}

/** The path of `ip`. @throws Error where it is not installed. */
export function ipPath(): string {
  const found = findIp();
  if (found === undefined) throw new Error('the command ip is not there (package iproute2)');
  return found;
}

/** The path of `ip`, where it is installed. */
export function findIp(): string | undefined {
  return PATHS.filter((folder) => folder !== '')
    .map((folder) => `${folder}/ip`)
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
