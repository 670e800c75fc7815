import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';

/** Where `ip` is when `PATH`, as a pod's environment, does not say. */
const PATHS = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin'];

/** What `ip` refused to do; `message` has the command and the reason that it gave. */
export class IpError extends Error {
  override readonly name = 'IpError';
  readonly code = 'ERR_IP_COMMAND';
  /** What `ip` said, without the command. */
  readonly reason: string;

  constructor(args: readonly string[], reason: string) {
    super(`ip ${args.join(' ')}: ${reason}`);
    this.reason = reason;
  }
}

/**
 * Runs `ip` of iproute2, without a shell between.
 *
 * @param input - What `-batch -` reads.
 * @returns What it wrote on standard output.
 * @throws IpError with its complaint; Error where it is not installed.
 */
export function ip(args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(ipPath(), args, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new IpError(args, stderr.trim() || error.message));
    });
    // It may have ended without reading; why, it says itself.
    child.stdin?.on('error', () => undefined).end(input);
  });
}

/**
 * Asks `ip` for a list, as JSON.
 *
 * @returns The entries; none where it writes nothing, as some versions do for an empty list.
 * @see ip(8), `-json`
 */
export async function ipList<T>(args: readonly string[]): Promise<T[]> {
  const text = (await ip(['-json', ...args])).trim();
  return text === '' ? [] : (JSON.parse(text) as T[]);
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
