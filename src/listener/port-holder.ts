import { readdir, readFile, readlink } from 'node:fs/promises';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { DurationMs } from '../clock.ts';
import { errorBody, NOT_FOUND } from './answers.ts';

/** How long whoever holds a port may take to say what it is. */
const TIMEOUT: DurationMs = 1_000;

/** State of a listening socket in `/proc/net/tcp` (`TCP_LISTEN` of the kernel). */
const LISTENING = '0A';

/**
 * The process that listens on a port, as far as this process may see it: in a pod that does
 * not share the node's process ids, or without rights over the holder, nobody is found.
 *
 * @returns `name (pid N)`, or undefined.
 * @see proc_pid_net(5), proc_pid_fd(5)
 */
export async function portHolder(port: number): Promise<string | undefined> {
  try {
    const inodes = new Set([
      ...(await listeningInodes('/proc/net/tcp', port)),
      ...(await listeningInodes('/proc/net/tcp6', port)),
    ]);
    if (inodes.size === 0) return undefined;
    for (const pid of await readdir('/proc')) {
      if (/^\d+$/.test(pid) && (await holdsOneOf(pid, inodes))) {
        return `${(await readFile(`/proc/${pid}/comm`, 'utf8')).trim()} (pid ${pid})`;
      }
    }
  } catch {
    // No /proc to look into: the holder stays unnamed.
  }
  return undefined;
}

async function listeningInodes(file: string, port: number): Promise<string[]> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n').slice(1);
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => local?.endsWith(`:${hex}`) && state === LISTENING)
    .map((columns) => columns[9] ?? '');
}

async function holdsOneOf(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const descriptor of descriptors) {
    const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined && inodes.has(inode)) return true;
  }
  return false;
}

/**
 * Whether a broker answers at an address: it is known by how it answers a path that it does not
 * have. In a pod, that says more than the process's name, which is out of sight there.
 */
export async function isBroker(address: {
  readonly host: string;
  readonly port: number;
}): Promise<boolean> {
  const { host, port } = address;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const signal = AbortSignal.timeout(TIMEOUT);
  const headers = { Host: host.includes(':') ? `[${host}]` : host };
  const asked = request({ host, port, path: '/', headers, agent: false, signal }, (answer) => {
    if (answer.statusCode !== NOT_FOUND.status) {
      answer.destroy();
      resolve(false);
      return;
    }
    text(answer).then(
      (body) => resolve(body === errorBody(NOT_FOUND)),
      () => resolve(false),
    );
  });
  asked.on('error', () => resolve(false));
  asked.end();
  return await promise;
}
