import type { DurationMs } from '../../src/clock.ts';
import { type Chance, Deck } from '../harness/chance.ts';
import type { Health } from './health.ts';
import { sleep } from './sleep.ts';

/** Something that goes wrong for a while. */
export interface Trouble {
  readonly name: string;
  /** How long the broker is given to get over it. */
  readonly recovery: DurationMs;
  /** Lets it go wrong. */
  begin(duration: DurationMs): Promise<void>;
  /** Mends it. */
  end(): Promise<void>;
}

/** What {@link Troubles} is made from. */
export interface TroublesOptions<Kind extends string> {
  readonly kinds: readonly Kind[];
  readonly make: (kind: Kind) => Trouble;
  readonly chance: Chance;
  readonly health: Health;
  readonly quietAtFirst: DurationMs;
  readonly lasts: readonly [DurationMs, DurationMs];
  /** Between the recovery from one and the next. */
  readonly apart: readonly [DurationMs, DurationMs];
  /** The longest recovery that is waited for. */
  readonly longestRecovery: DurationMs;
}

/** How often a trouble is a long one, and how much longer than the others. */
const LONG = { probability: 0.15, factor: 3 };
/** How often a second one comes with it. */
const TWO = 0.2;

/** Lets one thing after the other go wrong, of every kind in turn, and everything be well between. */
export class Troubles<Kind extends string> {
  readonly #options: TroublesOptions<Kind>;
  readonly #deck: Deck<Kind>;
  /** What is wrong now. */
  now: readonly string[] = [];
  /** How many there have been. */
  count = 0;

  constructor(options: TroublesOptions<Kind>) {
    this.#options = options;
    this.#deck = new Deck(options.kinds, options.chance);
  }

  /** Works until it is told to stop, and leaves everything well. */
  async run(signal: AbortSignal): Promise<void> {
    const { chance, quietAtFirst, apart, longestRecovery } = this.#options;
    await sleep(quietAtFirst, signal);
    while (!signal.aborted) {
      const recovery = await this.#trouble(signal);
      await sleep(Math.min(recovery, longestRecovery) + chance.between(...apart), signal);
    }
  }

  async #trouble(signal: AbortSignal): Promise<DurationMs> {
    const { chance, health, lasts, make } = this.#options;
    const kinds = new Set([this.#deck.deal()]);
    if (chance.is(TWO)) kinds.add(this.#deck.deal());
    const troubles = [...kinds].map(make);
    const usual = chance.between(...lasts);
    const duration = chance.is(LONG.probability) ? usual * LONG.factor : usual;
    const recovery = Math.max(...troubles.map((trouble) => trouble.recovery));
    this.now = troubles.map(({ name }) => name);
    this.count += troubles.length;
    health.falls();
    try {
      const until = Date.now() + duration;
      for (const trouble of troubles) await trouble.begin(Math.max(1, until - Date.now()));
      await sleep(until - Date.now(), signal);
    } finally {
      for (const trouble of troubles) await trouble.end();
      this.now = [];
      health.rises(recovery);
    }
    return recovery;
  }
}
