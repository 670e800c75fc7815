import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { autocannonVersion } from '../load/autocannon.ts';
import { wrkVersion } from '../load/wrk.ts';
import { nginxVersion } from '../servers/nginx.ts';
import { redisVersion } from '../servers/redis.ts';

/** What a run was made on, and with which versions. */
export interface Machine {
  /** The processor's model. */
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly broker: string;
  /** The commit, with `+` where files differ from it; undefined outside a repository. */
  readonly commit: string | undefined;
  readonly autocannon: string;
  readonly wrk: string | undefined;
  readonly nginx: string | undefined;
  readonly redis: string | undefined;
  /** Whether the program had a core of its own. */
  readonly pinned: boolean;
}

/** Looks at the machine. */
export function describeMachine(pinned: boolean): Machine {
  const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    broker: (JSON.parse(file) as { version: string }).version,
    commit: commit(),
    autocannon: autocannonVersion(),
    wrk: wrkVersion(),
    nginx: nginxVersion(),
    redis: redisVersion(),
    pinned,
  };
}

function commit(): string | undefined {
  const root = new URL('../..', import.meta.url);
  const { stdout, status } = spawnSync('git', ['describe', '--always', '--dirty=+'], {
    cwd: root,
    encoding: 'utf8',
  });
  return status === 0 ? stdout.trim() : undefined;
}
