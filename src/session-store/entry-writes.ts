import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import type { Announcement, AnnouncementForm } from './announcements.ts';
import type { Entries, Entry, Rejection } from './entries.ts';
import type { HeardFlushes } from './heard-flushes.ts';
import type { Leases } from './leases.ts';
import type { Names } from './names.ts';
import type { RedisLink } from './redis-link.ts';
import { type KeepResult, MalformedReplyError, readCount } from './replies.ts';
import { discardScript, flushScript, indexScript, keepScript, revokeScript } from './scripts.ts';
import type { FlushChoice, KeptCredentials, RevokedBy, StoredSession } from './session-store.ts';
import type { VersionClock } from './version-clock.ts';
import { WriteBehind } from './write-behind.ts';

/** Time for what nobody waits for. */
export const BACKGROUND: DurationMs = 1_000;

/** What {@link EntryWrites} is made from. */
export interface EntryWritesOptions {
  readonly clock: Clock;
  readonly link: RedisLink;
  /** By the first key of the file, then by the second. */
  readonly names: readonly [Names, ...Names[]];
  readonly entries: Entries;
  readonly form: AnnouncementForm;
  readonly leases: Leases;
  readonly versions: VersionClock;
  readonly flushes: HeardFlushes;
  /** Whether other brokers have to be told of flushes. */
  readonly announces: boolean;
  /** It was not kept, for Redis knows better: it was flushed, revoked, or there is a newer one. */
  readonly onNotKept: (
    session: StoredSession,
    fetchedAt: EpochMs,
    result: Exclude<KeepResult, 'kept' | 'there'>,
  ) => Promise<void>;
  readonly onRejected: (reason: Rejection | 'flushed') => void;
  readonly onDropped: () => void;
}

/** What is written to Redis, all of it behind: nobody waits for it. */
export class EntryWrites {
  readonly #options: EntryWritesOptions;
  readonly #writes: WriteBehind;

  constructor(options: EntryWritesOptions) {
    this.#options = options;
    const { clock, link, onDropped } = options;
    this.#writes = new WriteBehind({ clock, open: () => link.state === 'closed', onDropped });
  }

  /** What is not written yet. */
  get size(): number {
    return this.#writes.size;
  }

  /** Writes what waits, as far as it can be written now. */
  advance(): void {
    this.#writes.advance();
  }

  /** Resolves once everything is written, or cannot be for now. */
  settled(): Promise<void> {
    return this.#writes.settled();
  }

  /** Gives up what waits. */
  stop(): void {
    this.#writes.stop();
  }

  /** Keeps credentials, and ends the lease that they were fetched under. */
  keep(session: StoredSession, kept: KeptCredentials, roleChanged: boolean): void {
    const [names] = this.#options.names;
    this.#writes.add(names.entry(session), () => this.#keep(session, kept, roleChanged));
  }

  /** Leaves a mark in the place of an entry. */
  revoke(session: StoredSession, kept: KeptCredentials, by: RevokedBy): void {
    const { clock, link, names } = this.#options;
    const { fetchedAt } = kept;
    const revoked = { fetchedAt, expiresAt: kept.role.expiresAt, by };
    const [first] = names;
    // Not in the place of an entry that waits to be written: each does no harm to a later other.
    const subject = `revoke ${first.entry(session)}`;
    const write = async () => {
      const now = clock.now();
      await Promise.all(
        names.map((each) =>
          link.script(
            'revoke',
            BACKGROUND,
            revokeScript(each.entry(session), each.index, revoked, now),
          ),
        ),
      );
      if (first.isShared(session)) {
        await this.#announce({ kind: 'revoked', key: session.key, fetchedAt, by });
      }
    };
    this.#writes.add(subject, write, { essential: true });
  }

  /**
   * Makes what was kept of some sessions, or is being fetched anywhere, of no use.
   *
   * @returns Whether Redis and the other brokers have been told in time. If not they will be, once
   *   they can be reached.
   */
  async flush(choice: FlushChoice): Promise<boolean> {
    const { clock, link, announces } = this.#options;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    let version: number | undefined;
    const write = async () => {
      // Once is enough: another would beat what has been fetched since.
      version ??= await this.#flush(choice);
      if (announces) await this.#announce({ kind: 'flushed', choice, version });
      resolve(true);
    };
    this.#writes.add(`flush ${JSON.stringify(choice)}`, write, { essential: true });
    const timer = clock.setTimeout(() => resolve(false), BACKGROUND);
    if (link.state !== 'closed') resolve(false);
    return await promise.finally(() => clock.clearTimeout(timer));
  }

  /** This node holds an entry now: it is to be found after a restart. */
  index(entry: Entry): void {
    const { clock, link, names } = this.#options;
    this.#writes.add(`index ${entry.name}`, () =>
      link.script('keep', BACKGROUND, indexScript(names[0].index, entry, clock.now())),
    );
  }

  /** Has an entry that is under the old key kept under the new one as well, which outlives it. */
  sealAnew(session: StoredSession, kept: KeptCredentials, { name }: Entry): boolean {
    if (name === this.#options.names[0].entry(session)) return false;
    this.keep(session, kept, false);
    return true;
  }

  /** Deletes an entry that is of no use. */
  discard(entry: Entry, reason: Rejection | 'flushed'): void {
    const { link, onRejected } = this.#options;
    onRejected(reason);
    link
      .script('discard', BACKGROUND, discardScript(entry))
      // It is counted and felt by the circuit, and whoever meets the entry next tries it again.
      .catch(() => undefined);
  }

  async #keep(session: StoredSession, kept: KeptCredentials, roleChanged: boolean): Promise<void> {
    const { clock, entries, form, leases, link, names: all, onNotKept } = this.#options;
    const [names] = all;
    const lease = names.lease(session);
    if (kept.role.expiresAt <= clock.now()) {
      leases.end(lease, kept.version);
      return;
    }
    const entry = entries.seal(session, kept);
    const told = (announcement: Announcement) =>
      names.isShared(session) ? form.write(announcement) : '';
    const { fetchedAt } = kept;
    const script = keepScript(
      entry,
      { lease, index: names.index, flushes: all.flatMap((each) => each.flushes(session)) },
      {
        channel: names.channel,
        kept: told({ kind: 'kept', entry: entry.name, fetchedAt, roleChanged }),
        released: told({ kind: 'released', entry: entry.name }),
      },
      clock.now(),
    );
    const result = await link.script('keep', BACKGROUND, script);
    leases.end(lease, kept.version);
    if (result !== 'kept' && result !== 'there') await onNotKept(session, fetchedAt, result);
  }

  async #flush(choice: FlushChoice): Promise<number> {
    const { clock, flushes, link, names: all, versions } = this.#options;
    const names = all.map((each) => each.flush(choice));
    const script = flushScript(all[0].sequence, names, clock.now());
    const version = await link.script('flush', BACKGROUND, script);
    // Nothing that is fetched in days would count as fetched since.
    if (!versions.plausible(version)) throw new MalformedReplyError('a version of today');
    versions.hear(version);
    flushes.hear(choice, version);
    return version;
  }

  async #announce(announcement: Announcement): Promise<void> {
    const { form, link, names } = this.#options;
    const { channel } = names[0];
    const text = form.write(announcement);
    await link.send('announce', BACKGROUND, async (client) =>
      readCount(await client.publish(channel, text)),
    );
  }
}
