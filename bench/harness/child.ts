import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { pinned } from './cores.ts';
import { scratchDirectory } from './scratch.ts';

/** How long a process may take to be ready, and to end after SIGTERM. */
const READY_WITHIN = 30_000;
const END_WITHIN = 10_000;

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const { pid } of running) {
    if (pid === undefined) continue;
    try {
      // The group: nginx would leave its worker behind.
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It has ended by now.
    }
  }
});

/** A process that a run has started; disposing of it ends it. */
export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** When it was started, by `performance.now()`. */
  readonly startedAt: number;
  /** Takes and gives messages, if it was started with `messages`. */
  readonly process: ChildProcess;
  /** What it has written so far, on both streams. */
  output(): string;
  /** Whether it has ended by itself. */
  ended(): boolean;
  /** Sends SIGTERM and waits for the end; the exit code, null if it had to be killed. */
  stop(): Promise<number | null>;
}

/** How to start a process. */
export interface ChildOptions {
  readonly core?: number | undefined;
  /** The whole environment besides `PATH`. */
  readonly env?: Readonly<Record<string, string>>;
  /** Opens a channel for messages to a program of Node.js; default there is none. */
  readonly messages?: boolean;
}

/**
 * Starts a process whose output goes to a file, so that nobody has to keep up with it.
 *
 * @param command - The program and its arguments.
 */
export function startChild(command: readonly string[], options: ChildOptions = {}): Child {
  const scratch = scratchDirectory('child');
  const file = join(scratch.path, 'output');
  const descriptor = openSync(file, 'w');
  const [program = '', ...args] = pinned(options.core, command);
  const startedAt = performance.now();
  const child = spawn(program, args, {
    stdio: ['ignore', descriptor, descriptor, ...(options.messages ? (['ipc'] as const) : [])],
    detached: true,
    env: { PATH: process.env.PATH, ...options.env },
  });
  closeSync(descriptor);
  running.add(child);
  let failure = '';
  child.once('error', (error) => {
    failure = `${program}: ${error.message}\n`;
  });
  const exited = once(child, 'exit').finally(() => running.delete(child));
  exited.catch(() => undefined);
  const output = () => failure + readFileSync(file, 'utf8');
  const ended = () => child.exitCode !== null || child.signalCode !== null || failure !== '';
  const stop = async () => {
    if (!ended()) {
      child.kill('SIGTERM');
      const last = setTimeout(() => child.kill('SIGKILL'), END_WITHIN);
      await exited;
      clearTimeout(last);
    }
    return child.exitCode;
  };
  return {
    pid: child.pid ?? 0,
    process: child,
    startedAt,
    output,
    ended,
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop();
      scratch[Symbol.dispose]();
    },
  };
}

/**
 * Waits until something is true of a process.
 *
 * @param holds - Asked every `interval` milliseconds.
 * @throws Error with the process's output, when it ends first or takes too long.
 */
export async function ready(
  child: Child,
  name: string,
  holds: () => Promise<boolean>,
  interval = 10,
): Promise<void> {
  const deadline = performance.now() + READY_WITHIN;
  while (!(await holds())) {
    if (child.ended()) throw new Error(`${name} has ended:\n${child.output()}`);
    if (performance.now() > deadline) {
      throw new Error(`${name} is not ready after ${READY_WITHIN} ms:\n${child.output()}`);
    }
    await pause(interval);
  }
}
