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

/** A run that is under way. */
export interface RunningBench {
  readonly pid: number;
  readonly ended: Promise<BenchRun>;
  signal(signal: NodeJS.Signals): void;
}

/** Runs the suite on the sources, in an environment of its own. */
export function runBench(
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<BenchRun> {
  return startBench(args, env).ended;
}

/** Starts the suite on the sources. */
export function startBench(
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): RunningBench {
  const child = spawn(process.execPath, ['bench/main.ts', ...args], { cwd: ROOT, env });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  }
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...output }));
  return { pid: child.pid ?? 0, ended, signal: (signal) => void child.kill(signal) };
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
