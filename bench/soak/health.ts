import type { DurationMs, EpochMs } from '../../src/clock.ts';

/** Since when a service has been well, and the broker has had time to see it. */
export class Health {
  #troubles = 0;
  #wellFrom: EpochMs = 0;

  /** Infinite while it is in trouble. */
  get wellFrom(): EpochMs {
    return this.#troubles > 0 ? Number.POSITIVE_INFINITY : this.#wellFrom;
  }

  /** Something goes wrong from now on. */
  falls(): void {
    this.#troubles += 1;
  }

  /**
   * Nothing goes wrong any more.
   *
   * @param recovery - How long it may take until nobody suffers from it any more.
   */
  rises(recovery: DurationMs): void {
    this.#troubles -= 1;
    this.#wellFrom = Math.max(this.#wellFrom, Date.now() + recovery);
  }
}
