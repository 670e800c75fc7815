import type { Clock, DurationMs, EpochMs, Timer } from '../../src/clock.ts';
import { EventQueue } from './event-queue.ts';

/** A clock that jumps from one pending call to the next: days pass in seconds. */
export class VirtualClock implements Clock {
  readonly #queue = new EventQueue();
  readonly #callbacks = new Map<number, () => void>();
  #elapsed: DurationMs = 0;
  #lastId = 0;
  readonly #start: EpochMs;

  /** @param start - What {@link now} says at first. */
  constructor(start: EpochMs = Date.parse('2026-01-01T00:00:00Z')) {
    this.#start = start;
  }

  now(): EpochMs {
    return this.#start + this.#elapsed;
  }

  elapsed(): DurationMs {
    return this.#elapsed;
  }

  setTimeout(callback: () => void, delay: DurationMs): Timer {
    this.#lastId += 1;
    const id = this.#lastId;
    this.#callbacks.set(id, callback);
    this.#queue.add(this.#elapsed + Math.max(0, delay), id);
    const timer = { id, unref: () => timer };
    return timer;
  }

  clearTimeout(timer: Timer | undefined): void {
    if (timer !== undefined) this.#callbacks.delete((timer as Timer & { id: number }).id);
  }

  /** Goes on to a moment; promise chains settle after each call that falls due on the way. */
  async advanceTo(moment: DurationMs): Promise<void> {
    while (this.#queue.size > 0 && this.#queue.time <= moment) {
      this.#elapsed = Math.max(this.#elapsed, this.#queue.time);
      const id = this.#queue.take();
      const callback = this.#callbacks.get(id);
      if (callback === undefined) continue;
      this.#callbacks.delete(id);
      callback();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#elapsed = Math.max(this.#elapsed, moment);
  }
}
