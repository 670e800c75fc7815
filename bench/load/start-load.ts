import { fork } from 'node:child_process';
import { once } from 'node:events';
import { constants, setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Client, ClientResult } from './clients.ts';
import type { Address } from './one-try.ts';
import type { SteadyHits, SteadyLoad } from './steady-hits.ts';

/** What a process of a load is told. */
export type LoadTask =
  | { readonly kind: 'clients'; readonly target: Address; readonly clients: readonly Client[] }
  | ({ readonly kind: 'steady' } & SteadyLoad);

/** What comes of a task. */
export type LoadResult<Task extends LoadTask> = Task extends { kind: 'clients' }
  ? ClientResult[]
  : SteadyHits;

/** A process that is ready to begin. */
export interface WaitingLoad extends Disposable {
  /** Whether it goes before others, as was asked for: not everybody may. */
  readonly prioritised: boolean;
  /**
   * Lets it run to its end.
   *
   * @throws Error - The process ended without results.
   */
  run<Task extends LoadTask>(task: Task): Promise<LoadResult<Task>>;
}

/**
 * Starts a process for a load. Loads share a core: one that is measured goes before all others,
 * one that only makes work goes behind them, and must not be what the first one waits for.
 */
export async function startLoad(priority: 'first' | 'last'): Promise<WaitingLoad> {
  const child = fork(fileURLToPath(new URL('load-process.ts', import.meta.url)), {
    serialization: 'advanced',
  });
  await once(child, 'message');
  const { PRIORITY_HIGHEST, PRIORITY_LOW } = constants.priority;
  const prioritised = prioritise(child.pid, priority === 'first' ? PRIORITY_HIGHEST : PRIORITY_LOW);
  return {
    prioritised,
    async run<Task extends LoadTask>(task: Task) {
      child.send(task);
      const [results] = await Promise.race([
        once(child, 'message'),
        once(child, 'exit').then(() => {
          throw new Error('a process of the load has ended without results');
        }),
      ]);
      return results as LoadResult<Task>;
    },
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  };
}

/** Only root may go before others. */
function prioritise(pid: number | undefined, priority: number): boolean {
  if (pid === undefined) return false;
  try {
    setPriority(pid, priority);
    return true;
  } catch {
    return false;
  }
}
