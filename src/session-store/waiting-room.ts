import type { Clock, DurationMs } from '../clock.ts';

/** One who waits for something to happen to an entry. */
export interface Waiter {
  /**
   * Returns when it has happened since the waiter entered or waited last, the time is over, or
   * the signal comes.
   */
  wait(atMost: DurationMs, signal: AbortSignal): Promise<void>;
  leave(): void;
}

interface Place extends Waiter {
  called: boolean;
  wake: (() => void) | undefined;
}

/** Those who wait for entries, by the entry's name. */
export class WaitingRoom {
  readonly #clock: Clock;
  readonly #places = new Map<string, Set<Place>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Enters before it is known whether there is anything to wait for, so that no call is missed. */
  enter(name: string): Waiter {
    const clock = this.#clock;
    const places = this.#places.get(name) ?? new Set<Place>();
    this.#places.set(name, places);
    const place: Place = {
      called: false,
      wake: undefined,
      wait: async (atMost, signal) => {
        if (!place.called && !signal.aborted) {
          const { promise, resolve } = Promise.withResolvers<void>();
          place.wake = resolve;
          const timer = clock.setTimeout(resolve, atMost);
          const abort = () => resolve();
          signal.addEventListener('abort', abort);
          await promise;
          signal.removeEventListener('abort', abort);
          clock.clearTimeout(timer);
        }
        place.called = false;
      },
      leave: () => {
        places.delete(place);
        if (places.size === 0 && this.#places.get(name) === places) this.#places.delete(name);
      },
    };
    places.add(place);
    return place;
  }

  /** Something has happened to an entry. */
  call(name: string): void {
    for (const place of this.#places.get(name) ?? []) {
      place.called = true;
      place.wake?.();
    }
  }

  /** Nothing will be heard any more: everybody has to look for themselves. */
  callAll(): void {
    for (const name of this.#places.keys()) this.call(name);
  }
}
