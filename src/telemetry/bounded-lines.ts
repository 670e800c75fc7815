import type { Clock, DurationMs, Timer } from '../clock.ts';
import type { Log } from './log.ts';

/** Lines a second; what comes beyond is counted. */
const MAX_PER_SECOND = 50;
const SECOND: DurationMs = 1_000;

/**
 * Debug lines that come with every request, bounded in rate: users run at debug and trace,
 * and the log must not cost more than the requests.
 */
export class BoundedLines {
  readonly #clock: Clock;
  readonly #log: Log;
  #since: DurationMs = Number.NEGATIVE_INFINITY;
  #written = 0;
  #suppressed = 0;
  #timer: Timer | undefined;

  private constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Undefined where the log has no debug lines: then a request meets one check for that. */
  static of(clock: Clock, log: Log): BoundedLines | undefined {
    return log.isLevelEnabled('debug') ? new BoundedLines(clock, log) : undefined;
  }

  /** Writes a line, or counts it as suppressed. */
  write(fields: Readonly<Record<string, unknown>>, message: string): void {
    const now = this.#clock.elapsed();
    if (now - this.#since >= SECOND) {
      this.#sumUp();
      this.#since = now;
      this.#written = 0;
    }
    if (this.#written < MAX_PER_SECOND) {
      this.#written += 1;
      this.#log.debug(fields, message);
      return;
    }
    this.#suppressed += 1;
    if (this.#timer !== undefined) return;
    this.#timer = this.#clock.setTimeout(() => this.#sumUp(), this.#since + SECOND - now);
    this.#timer.unref();
  }

  #sumUp(): void {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#suppressed === 0) return;
    this.#log.debug({ suppressed: this.#suppressed }, 'lines about requests suppressed');
    this.#suppressed = 0;
  }
}
