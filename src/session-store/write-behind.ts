import type { Clock, DurationMs, Timer } from '../clock.ts';

/** Writes under way at once. */
const AT_ONCE = 16;
/** What waits to be written at most; beyond it the oldest is given up. */
const MOST = 4_000;
/** The pause after a write that failed. */
const RETRY_AFTER: DurationMs = 500;

/** What {@link WriteBehind} is made from. */
export interface WriteBehindOptions {
  readonly clock: Clock;
  /** Whether there is any use in writing now. */
  readonly open: () => boolean;
  /** Called for each write that was given up. */
  readonly onDropped: () => void;
}

/**
 * Writes that nobody waits for: the latest of each subject, a few at a time, again when they
 * fail, in memory that is bounded.
 */
export class WriteBehind {
  readonly #options: WriteBehindOptions;
  readonly #waiting = new Map<string, () => Promise<unknown>>();
  readonly #underWay = new Set<string>();
  #idle: (() => void)[] = [];
  #retry: Timer | undefined;

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
   */
  add(subject: string, write: () => Promise<unknown>): void {
    this.#waiting.delete(subject);
    if (this.#waiting.size >= MOST) {
      this.#waiting.delete(this.#waiting.keys().next().value as string);
      this.#options.onDropped();
    }
    this.#waiting.set(subject, write);
    this.advance();
  }

  /** Writes what waits, as far as it can be written now. */
  advance(): void {
    if (!this.#options.open()) return;
    for (const [subject, write] of this.#waiting) {
      if (this.#underWay.size >= AT_ONCE) return;
      if (this.#underWay.has(subject)) continue;
      this.#waiting.delete(subject);
      this.#underWay.add(subject);
      write().then(
        () => this.#ended(subject),
        () => {
          if (!this.#waiting.has(subject)) this.#waiting.set(subject, write);
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

  #failed(subject: string): void {
    const { clock } = this.#options;
    this.#underWay.delete(subject);
    clock.clearTimeout(this.#retry);
    this.#retry = clock.setTimeout(() => this.advance(), RETRY_AFTER);
    this.#retry.unref();
    this.#tellIdle();
  }

  #ended(subject: string): void {
    this.#underWay.delete(subject);
    this.advance();
    this.#tellIdle();
  }

  #tellIdle(): void {
    if (this.#underWay.size > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
