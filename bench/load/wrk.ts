import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { scratchDirectory } from '../harness/scratch.ts';
import { type HttpLoad, type HttpLoadResult, PERCENTILES } from './http-load.ts';
import { POD_HOST } from './one-try.ts';

const SCRIPT = fileURLToPath(new URL('wrk.lua', import.meta.url));

/** The version of the wrk that is installed; undefined where there is none. */
export function wrkVersion(): string | undefined {
  const { stdout, error } = spawnSync('wrk', ['-v'], { encoding: 'utf8' });
  return error === undefined ? (/^wrk (?:debian\/)?(\S+)/.exec(stdout)?.[1] ?? '') : undefined;
}

/** Runs a load with wrk, on one thread. */
export async function loadWithWrk(load: HttpLoad): Promise<HttpLoadResult> {
  using scratch = scratchDirectory('wrk');
  const tokens = join(scratch.path, 'tokens');
  writeFileSync(tokens, `${load.tokens.join('\n')}\n`, { mode: 0o600 });
  const child = spawn(
    'wrk',
    [
      '--threads=1',
      `--connections=${load.connections}`,
      `--duration=${Math.ceil(load.duration / 1_000)}s`,
      '--timeout=10s',
      `--script=${SCRIPT}`,
      `http://${load.target.host}:${load.target.port}/v1/credentials`,
      '--',
      tokens,
      load.connection,
      POD_HOST,
    ],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { PATH: process.env.PATH, BENCH_PERCENTILES: PERCENTILES.join(',') },
    },
  );
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code] = await once(child, 'close');
  const line = /^\{.*\}$/m.exec(output)?.[0];
  if (code !== 0 || line === undefined) throw new Error(`wrk failed:\n${output}`);
  return resultOf(JSON.parse(line));
}

/** What the script prints: times in microseconds. */
interface Printed {
  requests: number;
  microseconds: number;
  bytes: number;
  failed: number;
  refused: number;
  distribution: number[];
}

function resultOf({ microseconds, distribution, ...counts }: Printed): HttpLoadResult {
  const latencies = distribution.map((value) => value / 1_000);
  const at = (percent: (typeof PERCENTILES)[number]) =>
    latencies[PERCENTILES.indexOf(percent)] ?? Number.NaN;
  return {
    ...counts,
    seconds: microseconds / 1e6,
    p50: at(50),
    p99: at(99),
    p999: at(99.9),
    distribution: latencies,
  };
}
