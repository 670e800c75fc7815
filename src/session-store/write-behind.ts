import type { Clock, DurationMs, Timer } from '../clock.ts';

/** Writes under way at once. */
const AT_ONCE = 16;
/** What waits to be written at most; beyond it the oldest is given up that may be. */
const MAX_WAITING = 4_000;
/** The pause after a write that failed, doubled while writes go on failing. */
const MIN_PAUSE: DurationMs = 500;
const MAX_PAUSE: DurationMs = 30_000;

/** What {@link WriteBehind} is made from. */
export interface WriteBehindOptions {
  readonly clock: Clock;
  /** Whether there is any use in writing now. */
  readonly open: () => boolean;
  /** Called for each write that was given up. */
  readonly onDropped: () => void;
}

/**
 * A write. `essential`: without it something comes back that was to end, so that it is never
 * given up; there are no more of them than sessions and an operator's flushes.
 */
interface Write {
  readonly write: () => Promise<unknown>;
  readonly essential: boolean;
}

/**
 * Writes that nobody waits for: the latest of each subject, a few at a time, again when they
 * fail, in memory that is bounded.
 */
export class WriteBehind {
  readonly #options: WriteBehindOptions;
  readonly #waiting = new Map<string, Write>();
  readonly #underWay = new Set<string>();
  #idle: (() => void)[] = [];
  #retry: Timer | undefined;
  #pause = MIN_PAUSE;

  constructor(options: WriteBehindOptions) {
    this.#options = options;
  }

  /** What is not written yet. */
  get size(): number {
    return this.#waiting.size + this.#underWay.size;
  }

  /**
   * Writes something soon.
   *
   * @param subject - What it is about; an earlier write about the same is not needed any more.
   * @param write - Rejects when it is to be tried again.
   * @param essential - It is not given up, however much waits. Default is false.
   */
  add(subject: string, write: () => Promise<unknown>, { essential = false } = {}): void {
    this.#waiting.delete(subject);
    if (this.#waiting.size >= MAX_WAITING && !essential && !this.#makeRoom()) {
      this.#options.onDropped();
      return;
    }
    this.#waiting.set(subject, { write, essential });
    this.advance();
  }

  /** Writes what waits, as far as it can be written now. */
  advance(): void {
    if (!this.#options.open()) return;
    for (const [subject, waiting] of this.#waiting) {
      if (this.#underWay.size >= AT_ONCE) return;
      if (this.#underWay.has(subject)) continue;
      this.#waiting.delete(subject);
      this.#underWay.add(subject);
      waiting.write().then(
        () => this.#ended(subject),
        () => {
          if (!this.#waiting.has(subject)) this.#waiting.set(subject, waiting);
          this.#failed(subject);
        },
      );
    }
  }

  /** Resolves once everything is written, or cannot be for now. */
  settled(): Promise<void> {
    if (this.size === 0 || !this.#options.open()) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle.push(resolve);
    return promise;
  }

  /** Gives up what waits. */
  stop(): void {
    this.#options.clock.clearTimeout(this.#retry);
    this.#waiting.clear();
  }

  /** Gives the oldest up that may be. */
  #makeRoom(): boolean {
    for (const [subject, { essential }] of this.#waiting) {
      if (essential) continue;
      this.#waiting.delete(subject);
      this.#options.onDropped();
      return true;
    }
    return false;
  }

  #failed(subject: string): void {
    const { clock } = this.#options;
    this.#underWay.delete(subject);
    clock.clearTimeout(this.#retry);
    this.#retry = clock.setTimeout(() => this.advance(), this.#pause);
    this.#retry.unref();
    this.#pause = Math.min(MAX_PAUSE, this.#pause * 2);
    this.#tellIdle();
  }

  #ended(subject: string): void {
    this.#underWay.delete(subject);
    this.#pause = MIN_PAUSE;
    this.advance();
    this.#tellIdle();
  }

  #tellIdle(): void {
    if (this.#underWay.size > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
