import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { DurationMs } from '../../clock.ts';
import type { Exec } from './stage.ts';

const READY_WITHIN: DurationMs = 30_000;
const STOP_WITHIN: DurationMs = 10_000;

/** The sources in a checkout, the compiled files where it is installed. */
const EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
const MAIN = fileURLToPath(new URL(`../../main${EXTENSION}`, import.meta.url));

/** The file of the program that runs in pods. */
export const POD_PROGRAM = fileURLToPath(new URL(`./pod${EXTENSION}`, import.meta.url));

/** A command of this program to run in a process of its own. */
export interface ProgramOptions {
  /** Such as `server`, with its flags. */
  readonly args: readonly string[];
  /** Its whole environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** Starts a process, on the node or in it. */
  readonly exec: Exec;
  /** Its working directory. */
  readonly folder: string;
  /** Where its output goes. */
  readonly logFile: string;
  /** A URL that answers 200 as soon as it is ready. */
  readonly readyUrl: string;
  /** Ends the wait. */
  readonly signal: AbortSignal;
}

/** A command of this program in a process of its own. */
export interface Program {
  /** Rejects when it ends without having been stopped. */
  readonly lost: Promise<never>;
  stop(): Promise<void>;
}

/**
 * Starts a command of this program and waits until it is ready.
 *
 * @throws Error with the end of its output, where it ends instead or takes too long.
 */
export async function startProgram(options: ProgramOptions): Promise<Program> {
  const { args, environment, exec, folder, logFile, signal } = options;
  const log = openSync(logFile, 'a', 0o600);
  const child = exec(process.execPath, [MAIN, ...args], {
    cwd: folder,
    env: environment,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  let stopping = false;
  const kill = () => void child.kill('SIGKILL');
  process.once('exit', kill);
  const ended = endOf(child).finally(() => process.off('exit', kill));
  const lost = ended.then((how): Promise<never> => {
    // One that was told to stop is not lost, and this never settles.
    if (stopping || signal.aborted) return new Promise(() => undefined);
    throw new Error(`${args[0]} ended (${how}):\n${tail(logFile)}`);
  });
  lost.catch(() => undefined);
  const program: Program = {
    lost,
    async stop() {
      stopping = true;
      child.kill('SIGTERM');
      const last = setTimeout(kill, STOP_WITHIN);
      await ended;
      clearTimeout(last);
    },
  };
  const waited = new AbortController();
  try {
    await Promise.race([lost, answers(options, AbortSignal.any([signal, waited.signal]))]);
  } catch (error) {
    await program.stop();
    throw error;
  } finally {
    waited.abort();
  }
  return program;
}

async function answers(
  { args, logFile, readyUrl }: ProgramOptions,
  signal: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + READY_WITHIN;
  while (performance.now() < deadline) {
    signal.throwIfAborted();
    const asked = await fetch(readyUrl, { signal: AbortSignal.timeout(1_000) }).catch(() => null);
    await asked?.arrayBuffer().catch(() => undefined);
    if (asked?.ok) return;
    await pause(50, undefined, { signal });
  }
  throw new Error(`${args[0]} is not ready after ${READY_WITHIN} ms:\n${tail(logFile)}`);
}

function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`));
  });
}

/** The last lines of a program's output. */
function tail(logFile: string): string {
  return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-10).join('\n');
}
