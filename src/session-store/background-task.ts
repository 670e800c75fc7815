import type { Clock, DurationMs, Timer } from '../clock.ts';

/** The pause after a run that failed, doubled with each that follows it. */
const MIN_PAUSE: DurationMs = 1_000;
const MAX_PAUSE: DurationMs = 30_000;

/** What {@link BackgroundTask} is made from. */
export interface BackgroundTaskOptions {
  readonly clock: Clock;
  /** A number from 0 to 1: what many brokers do must not be done by all of them at once. */
  readonly random: () => number;
  /** Rejects when it is to be tried again. */
  readonly run: () => Promise<unknown>;
  /** Whether a run can succeed now. While it cannot, nothing is tried: {@link BackgroundTask.soon} has to be called. */
  readonly possible: () => boolean;
  /** After how long it is done again without anybody asking for it. Default is never. */
  readonly every?: () => DurationMs | undefined;
}

/** Something that is done in the background, one run at a time, until it has succeeded. */
export class BackgroundTask {
  readonly #options: BackgroundTaskOptions;
  #timer: Timer | undefined;
  #dueAt: DurationMs = Number.POSITIVE_INFINITY;
  #running = false;
  /** It was asked for while it ran: what it has seen may be too old. */
  #again: DurationMs | undefined;
  #pause = MIN_PAUSE;
  #stopped = false;

  constructor(options: BackgroundTaskOptions) {
    this.#options = options;
  }

  /**
   * Does it, at some moment in the time that is given.
   *
   * @param over - In milliseconds; 0: at once.
   */
  soon(over: DurationMs): void {
    if (this.#stopped) return;
    if (this.#running) {
      this.#again = Math.min(over, this.#again ?? over);
      return;
    }
    const { clock, random } = this.#options;
    const delay = over * random();
    if (clock.elapsed() + delay < this.#dueAt) this.#wait(delay);
  }

  /** Does nothing any more. */
  stop(): void {
    this.#stopped = true;
    this.#options.clock.clearTimeout(this.#timer);
  }

  #wait(delay: DurationMs): void {
    const { clock } = this.#options;
    clock.clearTimeout(this.#timer);
    this.#dueAt = clock.elapsed() + delay;
    this.#timer = clock.setTimeout(() => void this.#run(), delay);
    this.#timer.unref();
  }

  async #run(): Promise<void> {
    const { random, run, possible, every } = this.#options;
    this.#dueAt = Number.POSITIVE_INFINITY;
    if (this.#stopped || !possible()) return;
    this.#running = true;
    const succeeded = await run().then(
      () => true,
      () => false,
    );
    this.#running = false;
    if (this.#stopped) return;
    const again = this.#again;
    this.#again = undefined;
    const pause = succeeded ? every?.() : this.#pause;
    this.#pause = succeeded ? MIN_PAUSE : Math.min(MAX_PAUSE, this.#pause * 2);
    // Twice as long at most, and never in step with others.
    if (pause !== undefined) this.#wait(pause * (1 + random()));
    if (again !== undefined) this.soon(again);
  }
}
