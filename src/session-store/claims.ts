import { LRUCache } from 'lru-cache';
import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import type { AnnouncementForm } from './announcements.ts';
import type { Entry } from './entries.ts';
import type { LeaseWaiters, Waiter } from './lease-waiters.ts';
import { LEASE_LASTS, type Leases } from './leases.ts';
import type { Names } from './names.ts';
import type { RedisLink } from './redis-link.ts';
import { type ClaimReply, MalformedReplyError } from './replies.ts';
import { claimScript } from './scripts.ts';
import type { Claim, ClaimOptions, KeptCredentials, StoredSession } from './session-store.ts';
import type { VersionClock } from './version-clock.ts';

/** How the claim of a session that all brokers share came out. */
export type LeaseOutcome =
  /** This broker is to call, for all. */
  | 'taken'
  /** It was kept. */
  | 'kept'
  /** It was kept, after a wait for another broker's call. */
  | 'waited'
  /** A lease of this broker was not renewed in time. */
  | 'lost'
  /** This broker is to call because Redis could not be asked, or was not believed. */
  | 'redis-unavailable';

/** Less left than this is no use to whoever asks. */
const MIN_LIFETIME: DurationMs = 20_000;
/** How often a lease is looked at while nothing can be heard about it. */
const DEAF_WAIT: DurationMs = 100;
/** How long after a lease should have ended it is asked for: Redis ends it when it gets to it. */
const TAKE_OVER_AFTER: DurationMs = 20;
/** Over what time those who waited for it come. */
const TAKE_OVER_SPREAD: DurationMs = 50;
/** Less time than this is not enough to ask Redis anything. */
const MIN_BUDGET: DurationMs = 1;
/** By what part of the budget Redis may hold a claim up again after a wait for another's call. */
const BUDGET_AFTER_WAIT = 0.5;
/** Looks at one lease, three times as many as whoever hears nothing takes in half a minute. */
const MAX_LOOKS = 1_000;
/** For so many fetches of the longest kind another broker's is waited for, over several claims. */
const MAX_FETCHES = 2;
/** Sessions of which it is remembered for how long they were waited for. */
const MAX_REMEMBERED = 10_000;

/** What {@link Claims} is made from. */
export interface ClaimsOptions {
  readonly clock: Clock;
  /** A number from 0 to 1. */
  readonly random: () => number;
  /** The longest that Redis may hold up a claim. */
  readonly budget: DurationMs;
  /** The longest that a fetch may take, with its turn in the queue. */
  readonly longestFetch: DurationMs;
  readonly link: Pick<RedisLink, 'state' | 'script'>;
  /** By the first key of the file, then by the second. */
  readonly names: readonly [Names, ...Names[]];
  readonly leases: Leases;
  readonly waiters: LeaseWaiters;
  readonly versions: VersionClock;
  readonly form: AnnouncementForm;
  /** Whether it would be heard that a call has ended. */
  readonly hears: () => boolean;
  /** Opens an entry, or does away with it. */
  readonly open: (entry: Entry) => KeptCredentials | undefined;
  readonly onLease: (outcome: LeaseOutcome) => void;
}

/** Finds out, before a call, whether it is needed and whose it is. */
export class Claims {
  readonly #options: ClaimsOptions;
  /**
   * For how long entries were waited for, without Redis ever saying anything but that they are
   * being fetched. After a while it is not believed: nothing that it says may keep a session from
   * being fetched for good.
   */
  readonly #waitedFor = new LRUCache<string, DurationMs>({ max: MAX_REMEMBERED });

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** The claim of whoever need not ask, or cannot. */
  alone(): Claim {
    return { kind: 'call', version: this.#options.versions.now(), release: () => undefined };
  }

  /**
   * Asks for a session, and waits while another broker is fetching it.
   *
   * @param shared - All brokers share it; otherwise nobody else can be fetching it.
   */
  async claim(session: StoredSession, shared: boolean, options: ClaimOptions): Promise<Claim> {
    const { names, waiters, onLease } = this.#options;
    // Under which key another broker keeps it is not known before.
    const waiter = waiters.enter(...names.map((each) => each.entry(session)));
    try {
      const { claim, outcome } = await this.#claim(session, shared, waiter, options);
      if (shared && outcome !== undefined) onLease(outcome);
      return claim;
    } finally {
      waiter.leave();
    }
  }

  /** What is kept of a session that is newer than what is held. */
  async find(
    session: StoredSession,
    newerThan: EpochMs,
    limit: DurationMs,
  ): Promise<KeptCredentials | undefined> {
    const found = await this.#ask(session, newerThan, false, limit);
    return found.kind === 'entry' ? this.#opened(found.entry, newerThan) : undefined;
  }

  async #claim(
    session: StoredSession,
    shared: boolean,
    waiter: Waiter,
    { newerThan, patience, signal }: ClaimOptions,
  ): Promise<{ readonly claim: Claim; readonly outcome: LeaseOutcome | undefined }> {
    const { clock, random, link, names, budget: whole, longestFetch, hears } = this.#options;
    const name = names[0].entry(session);
    const deadline = clock.elapsed() + patience;
    let budget = whole;
    let waited = false;
    // A wrong entry is done away with, so that the next look finds another or none.
    let entriesLeft = names.length + 1;
    for (let look = 1; look <= MAX_LOOKS; look += 1) {
      if (link.state !== 'closed' || budget < MIN_BUDGET || entriesLeft === 0) break;
      const sent = clock.elapsed();
      // A failure is counted, and felt by the circuit: it comes to the same as nothing found.
      const found = await this.#ask(session, newerThan, shared, budget).catch(() => undefined);
      budget -= clock.elapsed() - sent;
      if (found === undefined || found.kind === 'none') break;
      if (found.kind !== 'held') this.#waitedFor.delete(name);
      if (found.kind === 'lease') {
        return { claim: this.#take(session, found.version, signal), outcome: 'taken' };
      }
      if (found.kind === 'entry') {
        const kept = this.#opened(found.entry, newerThan);
        if (kept !== undefined) {
          return { claim: { kind: 'kept', kept }, outcome: waited ? 'waited' : 'kept' };
        }
        entriesLeft -= 1;
        continue;
      }
      if ((this.#waitedFor.get(name) ?? 0) >= MAX_FETCHES * longestFetch) break;
      waited = true;
      const left = deadline - clock.elapsed();
      if (left <= 0 || signal.aborted) return { claim: { kind: 'elsewhere' }, outcome: undefined };
      // A little apart, so that not all of them come for a dead broker's lease at once.
      const ends = found.endsIn + TAKE_OVER_AFTER + TAKE_OVER_SPREAD * random();
      const from = clock.elapsed();
      await waiter.wait(Math.min(left, hears() ? ends : Math.min(ends, DEAF_WAIT)), signal);
      this.#waitedFor.set(name, (this.#waitedFor.get(name) ?? 0) + clock.elapsed() - from);
      // How long its holder took was no fault of Redis.
      budget = Math.max(budget, whole * BUDGET_AFTER_WAIT);
    }
    return { claim: this.alone(), outcome: 'redis-unavailable' };
  }

  /** Asks Redis for what is kept of a session, or for the lease to fetch it. */
  async #ask(
    session: StoredSession,
    newerThan: EpochMs,
    leased: boolean,
    limit: DurationMs,
  ): Promise<ClaimReply> {
    const { clock, names, link } = this.#options;
    const [first, ...others] = names;
    const script = claimScript(
      {
        leases: [first.lease(session), ...others.map((each) => each.lease(session))],
        sequence: first.sequence,
        entries: names.map((each) => each.entry(session)),
        flushes: names.flatMap((each) => each.flushes(session)),
      },
      newerThan,
      clock.now() + MIN_LIFETIME,
      leased ? LEASE_LASTS : 0,
    );
    const found = await link.script('claim', limit, script);
    if (found.kind === 'lease') {
      const { versions } = this.#options;
      // What was fetched under such a version, no flush to come would beat.
      if (!versions.plausible(found.version)) throw new MalformedReplyError('a version of today');
      versions.hear(found.version);
    }
    return found;
  }

  /** What an entry says, if that is of use: whoever answers may not have looked. */
  #opened(entry: Entry, newerThan: EpochMs): KeptCredentials | undefined {
    const { clock, open } = this.#options;
    const kept = open(entry);
    if (kept === undefined || kept.fetchedAt <= newerThan) return undefined;
    return kept.role.expiresAt > clock.now() + MIN_LIFETIME ? kept : undefined;
  }

  #take(session: StoredSession, version: number, signal: AbortSignal): Claim {
    const { names, leases, form } = this.#options;
    const [first] = names;
    const lease = leases.hold(first.lease(session), version, () =>
      signal.removeEventListener('abort', release),
    );
    const message = form.write({ kind: 'released', entry: first.entry(session) });
    const release = () => leases.release(lease, first.channel, message);
    if (signal.aborted) release();
    else signal.addEventListener('abort', release, { once: true });
    return { kind: 'call', version, release };
  }
}
