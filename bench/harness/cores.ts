import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Which core runs what. Without two cores, or without `taskset`, nothing is pinned. */
export interface Cores {
  /** The core of the program under test, and of whatever it is compared with. */
  readonly target: number;
  /** The core of everything else: load, simulator, this process. */
  readonly load: number;
}

/**
 * Moves this process, and with it whatever it starts, off the target's core.
 *
 * @returns Undefined where nothing can be pinned.
 */
export function separateCores(): Cores | undefined {
  if (availableParallelism() < 2) return undefined;
  const cores: Cores = { target: 0, load: 1 };
  // A thread that ends meanwhile makes taskset fail, so what counts is where this process is.
  spawnSync('taskset', ['-a', '-c', '-p', String(cores.load), String(process.pid)]);
  const allowed = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return allowed?.[1] === String(cores.load) ? cores : undefined;
}

/** A command line that runs on one core. */
export function pinned(core: number | undefined, command: readonly string[]): string[] {
  return core === undefined ? [...command] : ['taskset', '-c', String(core), ...command];
}
