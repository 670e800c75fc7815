import { threadId, type Worker, workerData } from 'node:worker_threads';
import type { DurationMs } from '../clock.ts';

/** How often a thread gives a sign of life. */
const INTERVAL: DurationMs = 150;
/** Threads that can be told apart; ids are given in turn, so live ones never collide. */
const SLOTS = 1_024;

/** Signs of life of worker threads: each counts up in a slot of shared memory. */
export class Heartbeats {
  /** Shared with the threads. */
  readonly buffer = new SharedArrayBuffer(SLOTS * Int32Array.BYTES_PER_ELEMENT);
  readonly #counts = new Int32Array(this.buffer);
  readonly #seen = new Map<number, { count: number; at: DurationMs }>();

  /**
   * The threads that gave no sign of life for a while. One that has not given its first is
   * still loading, and not counted.
   *
   * @param silence - How long is too long.
   * @param now - The time by a clock that does not jump.
   * @param excused - Take this moment as a sign of life of all.
   */
  silentFor(
    threads: readonly Worker[],
    silence: DurationMs,
    now: DurationMs,
    excused: boolean,
  ): Worker[] {
    const ids = new Set(threads.map((thread) => thread.threadId));
    for (const id of this.#seen.keys()) if (!ids.has(id)) this.#seen.delete(id);
    return threads.filter(({ threadId: id }) => {
      const count = Atomics.load(this.#counts, id % SLOTS);
      const seen = this.#seen.get(id);
      if (seen === undefined || seen.count !== count || excused) {
        this.#seen.set(id, { count, at: now });
        return false;
      }
      return count > 0 && now - seen.at > silence;
    });
  }
}

/**
 * Called on a worker thread when all is loaded: begins to give signs of life. The first is
 * given at once, since the first task may hang before there is another.
 */
export function beat(): void {
  Atomics.store(counts(), threadId % SLOTS, 1);
  setInterval(giveSign, INTERVAL).unref();
}

/**
 * On a worker thread: makes a task give signs of life too. Timers wait for all tasks that
 * have come in, so a thread that is merely busy with a thousand would seem to hang.
 */
export function beating<In, Out>(task: (input: In) => Promise<Out>): (input: In) => Promise<Out> {
  return async (input) => {
    giveSign();
    try {
      return await task(input);
    } finally {
      giveSign();
    }
  };
}

function giveSign(): void {
  Atomics.add(counts(), threadId % SLOTS, 1);
}

let shared: Int32Array | undefined;

function counts(): Int32Array {
  shared ??= new Int32Array((workerData as { heartbeats: SharedArrayBuffer }).heartbeats);
  return shared;
}
