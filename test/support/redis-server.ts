import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from '../../src/simulator/free-port.ts';
import { until } from './until.ts';

/** Who ends what the test has started. */
interface Teardown {
  teardown(callback: () => unknown): unknown;
}

/** How to start a server. */
export interface RedisServerOptions {
  readonly port?: number;
  /** A file of configuration, which the arguments go over. */
  readonly config?: string;
  /** Further arguments of `redis-server`. */
  readonly args?: readonly string[];
  /** `false`: do not wait until it answers, as one that wants TLS or a password does not. */
  readonly wait?: boolean;
}

/** A real Redis in a process of its own, which keeps nothing on disk. */
export interface RedisServer {
  readonly port: number;
  readonly url: string;
  readonly process: ChildProcess;
  /** A connection to look into it with. */
  client(): Redis;
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>;
}

/** Starts `redis-server` on a free port of 127.0.0.1; it ends with the test. */
export async function startRedis(
  t: Teardown,
  { port, config, args = [], wait = true }: RedisServerOptions = {},
): Promise<RedisServer> {
  const chosen = port ?? (await freePort());
  const folder = mkdtempSync(join(tmpdir(), 'redis-'));
  // A sentinel stores nothing, and knows no `save`.
  const stores = args.includes('--sentinel') ? [] : ['--save', ''];
  const child = spawn(
    'redis-server',
    [
      ...(config === undefined ? [] : [config]),
      '--port',
      String(chosen),
      '--bind',
      '127.0.0.1',
      '--dir',
      folder,
      ...stores,
      ...args,
    ],
    { stdio: 'ignore' },
  );
  const ended = once(child, 'close');
  ended.catch(() => undefined);
  const clients: Redis[] = [];
  const kill = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await ended;
    }
  };
  t.teardown(async () => {
    for (const client of clients) client.disconnect();
    await kill();
    rmSync(folder, { recursive: true, force: true });
  });
  const client = () => {
    const made = new Redis({ port: chosen, host: '127.0.0.1', lazyConnect: true });
    made.on('error', () => undefined);
    clients.push(made);
    return made;
  };
  if (wait) {
    const first = client();
    await until(async () => (await first.ping().catch(() => '')) === 'PONG', 'redis-server');
  }
  return { port: chosen, url: `redis://127.0.0.1:${chosen}`, process: child, client, kill };
}

/** Writes keys to a file as `--redis-key-file` takes them. */
export function keyFile(t: Teardown, ...keys: readonly Buffer[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'redis-key-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'key');
  const all = keys.length > 0 ? keys : [randomBytes(32)];
  writeFileSync(file, all.map((key) => `${key.toString('base64')}\n`).join(''));
  return file;
}

/** Writes a file with a secret in one line. */
export function secretFile(t: Teardown, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'redis-secret-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'secret');
  writeFileSync(file, `${text}\n`);
  return file;
}
