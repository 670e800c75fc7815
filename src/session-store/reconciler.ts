import type { Clock, DurationMs } from '../clock.ts';
import { BackgroundTask } from './background-task.ts';
import type { Entries } from './entries.ts';
import { type Difference, type Loaded, loadEntries, reconcile } from './load.ts';
import type { Names } from './names.ts';
import type { RedisLink } from './redis-link.ts';
import type { HeldSession } from './session-store.ts';

/** Time for each reading. */
const READING: DurationMs = 5_000;
/** After Redis was away, or was not heard, brokers come back to it over such a time. */
const COME_BACK_OVER: DurationMs = 2_000;
/** How often all is compared that is held, whatever was heard: what was lost comes to light. */
const COMPARED_EVERY: DurationMs = 5 * 60_000;
/** The same, while announcements are not heard. */
const COMPARED_EVERY_WHEN_DEAF: DurationMs = 15_000;

/** What {@link Reconciler} is made from. */
export interface ReconcilerOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly link: RedisLink;
  /** By the first key of the file, then by the second. */
  readonly names: readonly [Names, ...Names[]];
  readonly entries: Entries;
  /** Entries that are loaded at most. */
  readonly maxSessions: number;
  /** Whether it is heard now what other brokers do; undefined where none does anything. */
  readonly hears: () => boolean | undefined;
  /** All that is held. */
  readonly held: () => Iterable<HeldSession>;
  readonly onLoaded: (loaded: Loaded, took: DurationMs) => void;
  readonly onDifference: (difference: Difference) => Promise<void>;
}

/**
 * Keeps what is held and what Redis has the same: loads what the node has kept, once, and
 * compares after anything could have been missed.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #load: BackgroundTask;
  readonly #compare: BackgroundTask;
  readonly #attempted = Promise.withResolvers<void>();
  #loaded = false;
  #missed = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    const { clock, random, link } = options;
    const possible = () => link.state === 'closed';
    this.#load = new BackgroundTask({
      clock,
      random,
      possible,
      run: () => this.#loadAll().finally(this.#attempted.resolve),
    });
    this.#compare = new BackgroundTask({
      clock,
      random,
      possible,
      run: () => this.#compareAll(),
      every: () => this.#interval(),
    });
  }

  /** Whether everything that this node had kept is there. */
  get loaded(): boolean {
    return this.#loaded;
  }

  /** Resolves when loading was tried for the first time, whatever came of it. */
  get attempted(): Promise<void> {
    return this.#attempted.promise;
  }

  /** Redis can be asked again: what has happened meanwhile is not known, and writes may be lost. */
  redisIsBack(): void {
    if (this.#loaded) this.#compare.soon(COME_BACK_OVER);
    else this.#load.soon(0);
  }

  /** Announcements may have been missed, or will be from now on. */
  mayHaveMissed(): void {
    if (this.#loaded) this.#compare.soon(COME_BACK_OVER);
    else this.#missed = true;
  }

  /** Reads nothing any more. */
  stop(): void {
    this.#load.stop();
    this.#compare.stop();
    this.#attempted.resolve();
  }

  #interval(): DurationMs {
    return this.#options.hears() === false ? COMPARED_EVERY_WHEN_DEAF : COMPARED_EVERY;
  }

  async #loadAll(): Promise<void> {
    const { clock, link, names, entries, maxSessions, onLoaded } = this.#options;
    const started = clock.elapsed();
    const loaded = await loadEntries({
      ...{ link, names, entries },
      limit: READING,
      most: maxSessions,
      now: clock.now(),
    });
    onLoaded(loaded, clock.elapsed() - started);
    this.#loaded = true;
    // What was fetched before it could be asked is not kept yet; and something may have been
    // announced between the reading and the first subscription.
    this.#compare.soon(this.#missed ? COME_BACK_OVER : this.#interval());
  }

  async #compareAll(): Promise<void> {
    const { link, names, held, onDifference } = this.#options;
    const sessions = [...held()];
    for (const difference of await reconcile({ link, names, limit: READING, sessions })) {
      await onDifference(difference);
    }
  }
}
