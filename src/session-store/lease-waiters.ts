import type { Clock, DurationMs } from '../clock.ts';

/** One who waits for another broker's fetch of an entry to end. */
export interface Waiter {
  /**
   * Returns when it has ended since the waiter entered or waited last, the time is over, or the
   * signal comes.
   */
  wait(atMost: DurationMs, signal: AbortSignal): Promise<void>;
  leave(): void;
}

interface Entered extends Waiter {
  woken: boolean;
  wake: (() => void) | undefined;
}

/** Those who wait while another broker holds the lease on an entry, by the entry's name. */
export class LeaseWaiters {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Set<Entered>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Enters before it is known whether there is anything to wait for, so that nothing is missed.
   *
   * @param names - Of the entry, under each key of the file.
   */
  enter(...names: readonly string[]): Waiter {
    const clock = this.#clock;
    const waiter: Entered = {
      woken: false,
      wake: undefined,
      wait: async (atMost, signal) => {
        if (!waiter.woken && !signal.aborted) {
          const { promise, resolve } = Promise.withResolvers<void>();
          waiter.wake = resolve;
          const timer = clock.setTimeout(resolve, atMost);
          const abort = () => resolve();
          signal.addEventListener('abort', abort);
          await promise;
          signal.removeEventListener('abort', abort);
          clock.clearTimeout(timer);
        }
        waiter.woken = false;
      },
      leave: () => {
        for (const name of names) {
          const waiting = this.#waiting.get(name);
          waiting?.delete(waiter);
          if (waiting?.size === 0) this.#waiting.delete(name);
        }
      },
    };
    for (const name of names) {
      const waiting = this.#waiting.get(name) ?? new Set<Entered>();
      this.#waiting.set(name, waiting.add(waiter));
    }
    return waiter;
  }

  /** A fetch of an entry has ended. */
  wake(name: string): void {
    for (const waiter of this.#waiting.get(name) ?? []) {
      waiter.woken = true;
      waiter.wake?.();
    }
  }

  /** Nothing will be heard any more: everybody has to look for themselves. */
  wakeAll(): void {
    for (const name of this.#waiting.keys()) this.wake(name);
  }
}
