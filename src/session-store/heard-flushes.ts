import { LRUCache } from 'lru-cache';
import type { Names } from './names.ts';
import type { FlushChoice, StoredSession } from './session-store.ts';

/** More flushes than an operator makes while an answer of Redis is on its way. */
const MAX_REMEMBERED = 1_000;

/**
 * Flushes that were heard of. What Redis has answered before a flush can arrive after it, on
 * another connection: it must not bring back what was flushed.
 */
export class HeardFlushes {
  readonly #names: Names;
  readonly #versions = new LRUCache<string, number>({ max: MAX_REMEMBERED });

  constructor(names: Names) {
    this.#names = names;
  }

  /**
   * There was a flush.
   *
   * @returns Whether that is news: whoever has heard an announcement can repeat it without end.
   */
  hear(choice: FlushChoice, version: number): boolean {
    const name = this.#names.flush(choice);
    if (version <= (this.#versions.get(name) ?? 0)) return false;
    this.#versions.set(name, version);
    return true;
  }

  /** Whether a session whose fetch began with this version has been flushed since. */
  beat(session: StoredSession, version: number): boolean {
    return this.#names.flushes(session).some((name) => version < (this.#versions.get(name) ?? 0));
  }
}
