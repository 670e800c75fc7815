import type { Clock, DurationMs, Timer } from '../clock.ts';
import type { Log } from './log.ts';

/** How often a fault that goes on is summed up. */
export const SUMMARY_INTERVAL: DurationMs = 60_000;
/** Faults that are told apart; what comes beyond is summed up together. */
const MAX_FAULTS = 512;
const OTHERS = 'others';

/** A fault as a log line. */
export interface Fault {
  readonly level: 'info' | 'warn' | 'error';
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/**
 * Logs what may go wrong again and again: the first time at once, and then once a minute how
 * many more times it was. A minute without it ends it: the next is a first one again.
 */
export class RepeatedFaults {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #faults = new Map<string, { latest: Fault; repeats: number }>();
  #timer: Timer | undefined;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * Reports a fault.
   *
   * @param key - What makes it the same as another one.
   */
  report(key: string, fault: Fault): void {
    const known = this.#faults.get(key);
    if (known === undefined && this.#faults.size >= MAX_FAULTS && key !== OTHERS) {
      this.report(OTHERS, fault);
      return;
    }
    if (known === undefined) {
      this.#faults.set(key, { latest: fault, repeats: 0 });
      this.#log[fault.level](fault.fields, fault.message);
    } else {
      known.latest = fault;
      known.repeats += 1;
    }
    this.#timer ??= this.#sumUpLater();
  }

  /** What was failing works: sums up what was not told yet, and forgets it. */
  over(key: string): void {
    const known = this.#faults.get(key);
    if (known === undefined) return;
    this.#sumUp(known);
    this.#faults.delete(key);
  }

  /** Sums up what was not told yet, and ends. */
  stop(): void {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const fault of this.#faults.values()) this.#sumUp(fault);
    this.#faults.clear();
  }

  #sumUpLater(): Timer {
    const timer = this.#clock.setTimeout(() => {
      for (const [key, fault] of this.#faults) {
        if (fault.repeats === 0) this.#faults.delete(key);
        else this.#sumUp(fault);
      }
      this.#timer = this.#faults.size === 0 ? undefined : this.#sumUpLater();
    }, SUMMARY_INTERVAL);
    timer.unref();
    return timer;
  }

  #sumUp(fault: { readonly latest: Fault; repeats: number }): void {
    const { latest, repeats } = fault;
    if (repeats === 0) return;
    fault.repeats = 0;
    this.#log[latest.level]({ ...latest.fields, repeats }, latest.message);
  }
}
