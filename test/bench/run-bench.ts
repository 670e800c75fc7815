import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Results } from '../../bench/report/results.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What a run has printed, and how it has ended. */
export interface BenchRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the suite on the sources, in an environment of its own. */
export async function runBench(
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<BenchRun> {
  const child = spawn(process.execPath, ['bench/main.ts', ...args], { cwd: ROOT, env });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...output };
}

/** The only run's results of a directory. */
export function readResults(directory: string): Results {
  const file = readdirSync(directory).find((name) => /^\d{4}-.*\.json$/.test(name)) ?? '';
  return JSON.parse(readFileSync(join(directory, file), 'utf8')) as Results;
}

/** The path of a program in this directory. */
export function programHere(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
