import { LRUCache } from 'lru-cache';
import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import type { AnnouncementForm } from './announcements.ts';
import type { Claims } from './claims.ts';
import { BACKGROUND, type EntryWrites } from './entry-writes.ts';
import type { HeardFlushes } from './heard-flushes.ts';
import type { LeaseWaiters } from './lease-waiters.ts';
import type { Difference, Loaded } from './load.ts';
import type { Names } from './names.ts';
import type { KeepResult } from './replies.ts';
import type { KeptCredentials, RevokedBy, SessionHolder, StoredSession } from './session-store.ts';
import type { VersionClock } from './version-clock.ts';

/** Sessions whose entries are known by name. */
const MAX_KNOWN = 10_000;
/** How often a session is renewed at most because another node was denied it. */
const RENEWED_EVERY: DurationMs = 30_000;

/** What {@link HolderUpdates} is made from. */
export interface HolderUpdatesOptions {
  readonly clock: Clock;
  readonly holder: SessionHolder;
  /** By the first key of the file, then by the second. */
  readonly names: readonly [Names, ...Names[]];
  readonly form: AnnouncementForm;
  readonly claims: Claims;
  readonly writes: EntryWrites;
  readonly waiters: LeaseWaiters;
  readonly versions: VersionClock;
  readonly flushes: HeardFlushes;
}

/** Brings what is held in memory up to what Redis has, and what other brokers say. */
export class HolderUpdates {
  readonly #options: HolderUpdatesOptions;
  readonly #known = new LRUCache<string, StoredSession>({ max: MAX_KNOWN });
  /** Sessions that are being read anew: one reading at a time, whatever is announced of them. */
  readonly #refreshing = new Set<string>();
  readonly #renewedAt = new LRUCache<string, DurationMs>({ max: MAX_KNOWN });

  constructor(options: HolderUpdatesOptions) {
    this.#options = options;
  }

  /** Remembers whose an entry is, for announcements that name it. */
  know(session: StoredSession): void {
    const { key, scope, namespace, serviceAccount } = session;
    for (const names of this.#options.names) {
      this.#known.set(names.entry(session), { key, scope, namespace, serviceAccount });
    }
  }

  /** Another broker has something to say. */
  heard(text: string): void {
    const { flushes, form, holder, versions, waiters } = this.#options;
    const said = form.read(text);
    switch (said?.kind) {
      case 'kept': {
        waiters.wake(said.entry);
        const session = this.#known.get(said.entry);
        const held = session && holder.find(session.key);
        if (session === undefined || held === undefined) return;
        if (!(held.fetchedAt < said.fetchedAt)) return;
        // What is missed by this comes to light when all is compared.
        if (held.inUse || said.roleChanged) {
          this.#refresh(session, held.fetchedAt).catch(() => undefined);
        }
        return;
      }
      case 'released':
        waiters.wake(said.entry);
        return;
      case 'flushed':
        versions.hear(said.version);
        if (flushes.hear(said.choice, said.version)) {
          holder.flushBefore(said.choice, said.version);
        }
        return;
      case 'revoked':
        this.#revoked(said.key, said.fetchedAt, said.by);
        return;
    }
  }

  /** Takes in what this node had kept. */
  take({ version, found, rejected }: Loaded): void {
    const { versions, writes } = this.#options;
    versions.hear(version);
    for (const { session, kept, entry } of found) {
      this.know(session);
      this.#restore(session, kept);
      writes.sealAnew(session, kept, entry);
    }
    for (const { entry, reason } of rejected) writes.discard(entry, reason);
  }

  /** What was to be kept is not what Redis has of a session. */
  async notKept(
    session: StoredSession,
    fetchedAt: EpochMs,
    result: Exclude<KeepResult, 'kept' | 'there'>,
  ): Promise<void> {
    if (result === 'flushed') this.#options.holder.end(session.key, fetchedAt);
    else if (result === 'older') await this.#refresh(session, fetchedAt);
    else this.#revoked(session.key, fetchedAt, result);
  }

  /** Puts right what is held otherwise than it is kept. */
  async mend({ session, kept, proven, is }: Difference): Promise<void> {
    const { fetchedAt } = kept;
    if (is === 'missing') {
      if (!proven) return;
      this.know(session);
      this.#options.writes.keep(session, kept, false);
    } else await this.notKept(session, fetchedAt, is === 'outdated' ? 'older' : is);
  }

  #revoked(key: string, fetchedAt: EpochMs, by: RevokedBy): void {
    const { clock, holder } = this.#options;
    if (by === 'refused') {
      holder.end(key, fetchedAt);
      return;
    }
    // A Redis that says so of all that is kept must not have it fetched over and over.
    const now = clock.elapsed();
    const before = this.#renewedAt.get(key) ?? Number.NEGATIVE_INFINITY;
    if (now - before < RENEWED_EVERY) return;
    this.#renewedAt.set(key, now);
    holder.renew(key, fetchedAt);
  }

  /** Takes in what is newer than what is held. */
  async #refresh(session: StoredSession, newerThan: EpochMs): Promise<void> {
    if (this.#refreshing.has(session.key)) return;
    this.#refreshing.add(session.key);
    try {
      const kept = await this.#options.claims.find(session, newerThan, BACKGROUND);
      if (kept !== undefined) this.#restore(session, kept);
    } finally {
      this.#refreshing.delete(session.key);
    }
  }

  #restore(session: StoredSession, kept: KeptCredentials): void {
    const { flushes, holder } = this.#options;
    // It may have been read before a flush that was heard of first.
    if (!flushes.beat(session, kept.version)) holder.restore(session, kept);
  }
}
