import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../../src/simulator/free-port.ts';
import { ready, startChild } from '../harness/child.ts';
import { scratchDirectory } from '../harness/scratch.ts';

/** A Redis for brokers to keep their sessions in. */
export interface RedisServer extends AsyncDisposable {
  /** The flags with which a broker uses it. */
  readonly flags: readonly string[];
}

/** Why a scenario that needs Redis is left out, where it is not installed. */
export const NO_REDIS = 'redis-server is not installed';

/** The version of the `redis-server` that is installed; undefined where there is none. */
export function redisVersion(): string | undefined {
  const { stdout, error } = spawnSync('redis-server', ['--version'], { encoding: 'utf8' });
  return error === undefined ? /v=(\S+)/.exec(stdout)?.[1] : undefined;
}

/** Starts `redis-server`, which keeps nothing on disk, on the core of the load. */
export async function startRedis(): Promise<RedisServer> {
  const scratch = scratchDirectory('redis');
  const directory = scratch.path;
  const keyFile = join(directory, 'key');
  writeFileSync(keyFile, randomBytes(32).toString('base64'));
  const port = await freePort();
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', directory];
  const child = startChild(['redis-server', ...options]);
  await ready(child, 'redis-server', () => accepts(port));
  return {
    flags: [`--redis-url=redis://127.0.0.1:${port}`, `--redis-key-file=${keyFile}`],
    [Symbol.asyncDispose]: async () => {
      await child[Symbol.asyncDispose]();
      scratch[Symbol.dispose]();
    },
  };
}

function accepts(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, '127.0.0.1', () => {
    socket.destroy();
    resolve(true);
  });
  socket.on('error', () => resolve(false));
  return promise;
}
