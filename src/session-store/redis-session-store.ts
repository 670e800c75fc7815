import type { Clock, DurationMs } from '../clock.ts';
import type { RedisConfig } from '../config/redis-config.ts';
import { AnnouncementForm } from './announcements.ts';
import type { CircuitState } from './circuit.ts';
import { Claims, type LeaseOutcome } from './claims.ts';
import { Entries, type Entry, type Rejection } from './entries.ts';
import { EntryWrites } from './entry-writes.ts';
import { HeardFlushes } from './heard-flushes.ts';
import { HolderUpdates } from './holder-updates.ts';
import { oneLookupAtATime } from './host-lookup.ts';
import { readKeyFile } from './key-file.ts';
import { LeaseWaiters } from './lease-waiters.ts';
import { Leases } from './leases.ts';
import { Names } from './names.ts';
import { Reconciler } from './reconciler.ts';
import { type RedisClients, redisClients } from './redis-client.ts';
import { type CommandResult, type Purpose, RedisLink } from './redis-link.ts';
import { Sealer } from './seal.ts';
import type {
  Claim,
  ClaimOptions,
  FlushChoice,
  KeptCredentials,
  RevokedBy,
  SessionHolder,
  SessionStore,
  StoredSession,
} from './session-store.ts';
import { Subscriber } from './subscriber.ts';
import { VersionClock } from './version-clock.ts';

/** What {@link openRedisSessionStore} is made from. */
export interface RedisSessionStoreOptions {
  readonly clock: Clock;
  /** A number from 0 to 1. */
  readonly random: () => number;
  readonly config: RedisConfig;
  readonly clusterName: string;
  readonly audience: string;
  /** The longest that a fetch may take: `--flight-timeout`. */
  readonly longestFetch: DurationMs;
  /** Sessions that are loaded at most. */
  readonly maxSessions: number;
  readonly holder: SessionHolder;
  readonly onCommand: (purpose: Purpose, result: CommandResult) => void;
  readonly onLoaded: (entries: number, took: DurationMs) => void;
  readonly onRejected: (reason: Rejection | 'flushed') => void;
  readonly onLease: (outcome: LeaseOutcome) => void;
  readonly onDropped: () => void;
}

/** Redis, as the operator sees it. */
export interface StoreState {
  readonly circuit: CircuitState;
  /** Why the circuit is open. */
  readonly reason: string;
  /** It is not known yet whether Redis is there: the broker has only just started. */
  readonly untried: boolean;
  /** What is not written yet. */
  readonly waiting: number;
  /** Undefined where other brokers have nothing to say. */
  readonly announcements: AnnouncementState | undefined;
}

/** Whether it is heard what other brokers say. */
export interface AnnouncementState {
  readonly heard: boolean;
  /** For how long they have not been; 0 while they are. */
  readonly deafFor: DurationMs;
  /** Why they are not. */
  readonly reason: string;
}

/** How long sessions may take to come out of Redis before pods are answered without them. */
const WARM_START: DurationMs = 200;

/**
 * Opens the store. It is of use as soon as Redis is; until then everything goes on without.
 *
 * @throws KeyFileError, or Error naming a file that cannot be read.
 */
export async function openRedisSessionStore(
  options: RedisSessionStoreOptions,
): Promise<RedisSessionStore> {
  const { clock, config, random } = options;
  const [keys, clients] = await Promise.all([
    readKeyFile(config.keyFile),
    redisClients(config, { clock, random, lookup: oneLookupAtATime() }),
  ]);
  return new RedisSessionStore(options, keys, clients);
}

/** Sessions in Redis. */
export class RedisSessionStore implements SessionStore {
  readonly #options: RedisSessionStoreOptions;
  /** By the first key of the file, then by the second. */
  readonly #names: readonly [Names, ...Names[]];
  readonly #entries: Entries;
  readonly #link: RedisLink;
  readonly #subscriber: Subscriber | undefined;
  readonly #leases: Leases;
  readonly #writes: EntryWrites;
  readonly #waiters: LeaseWaiters;
  readonly #versions: VersionClock;
  readonly #flushes: HeardFlushes;
  readonly #claims: Claims;
  readonly #updates: HolderUpdates;
  readonly #reconciler: Reconciler;

  constructor(options: RedisSessionStoreOptions, keys: readonly Buffer[], clients: RedisClients) {
    const { clock, random, config, clusterName, audience, holder, onCommand } = options;
    const { sharing, nodeName, budget } = config;
    this.#options = options;
    const [firstNames, ...otherNames] = keys.map(
      (key) => new Names(key, { clusterName, nodeName, sharing }),
    );
    const names = [firstNames as Names, ...otherNames] as const;
    this.#names = names;
    const sealer = new Sealer(keys);
    const form = new AnnouncementForm(sealer, clusterName);
    const entries = new Entries({ clock, sealer, names, clusterName, audience });
    const waiters = new LeaseWaiters(clock);
    const versions = new VersionClock(clock);
    const flushes = new HeardFlushes(names[0]);
    const link = new RedisLink({
      ...{ clock, random, budget, onCommand },
      client: clients.commands(),
      probeKey: names[0].probe,
      onChange: (state) => this.#changed(state),
    });
    const leases = new Leases({ clock, link, onLost: () => options.onLease('lost') });
    this.#entries = entries;
    this.#waiters = waiters;
    this.#versions = versions;
    this.#flushes = flushes;
    this.#link = link;
    this.#leases = leases;
    const mayHaveMissed = () => this.#reconciler.mayHaveMissed();
    this.#subscriber =
      sharing === 'node'
        ? undefined
        : new Subscriber({
            clock,
            client: clients.subscriber(),
            channel: names[0].channel,
            onMessage: (text) => this.#updates.heard(text),
            onSubscribed: mayHaveMissed,
            onDeafened: mayHaveMissed,
          });
    this.#claims = new Claims({
      ...{ clock, random, budget, link, names, leases, waiters, versions, form },
      longestFetch: options.longestFetch,
      hears: () => this.#subscriber?.hears ?? false,
      open: (entry) => this.#open(entry),
      onLease: options.onLease,
    });
    this.#writes = new EntryWrites({
      ...{ clock, link, names, entries, form, leases, versions, flushes },
      announces: sharing !== 'node',
      onNotKept: (...what) => this.#updates.notKept(...what),
      onRejected: options.onRejected,
      onDropped: options.onDropped,
    });
    this.#updates = new HolderUpdates({
      ...{ clock, holder, names, form, waiters, versions, flushes },
      claims: this.#claims,
      writes: this.#writes,
    });
    this.#reconciler = new Reconciler({
      ...{ clock, random, link, names, entries },
      maxSessions: options.maxSessions,
      hears: () => this.#subscriber?.hears,
      held: () => holder.held(),
      onLoaded: (loaded, took) => {
        this.#updates.take(loaded);
        options.onLoaded(loaded.found.length, took);
      },
      onDifference: (difference) => this.#updates.mend(difference),
    });
  }

  /** How Redis is doing. */
  get state(): StoreState {
    const { state: circuit, reason, untried } = this.#link;
    const announcements = this.#announcements();
    return { circuit, reason, untried, waiting: this.#writes.size, announcements };
  }

  get version(): number {
    return this.#versions.now();
  }

  /**
   * Connects and loads what this node kept.
   *
   * @returns Resolves when that is done, cannot be for now, or has taken 200 ms; it goes on all
   *   the same.
   */
  async start(): Promise<void> {
    const { clock } = this.#options;
    this.#link.start();
    this.#subscriber?.start();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.setTimeout(resolve, WARM_START);
    timer.unref();
    await Promise.race([this.#reconciler.attempted, promise]);
    clock.clearTimeout(timer);
  }

  /** Writes what can be written within a while, and lets go of Redis. */
  async stop(within: DurationMs): Promise<void> {
    const { clock } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.setTimeout(resolve, within);
    await Promise.race([this.#writes.settled(), promise]);
    clock.clearTimeout(timer);
    this.#reconciler.stop();
    this.#leases.stop();
    this.#writes.stop();
    this.#subscriber?.stop();
    this.#link.stop();
    this.#waiters.wakeAll();
  }

  async claim(session: StoredSession, options: ClaimOptions): Promise<Claim> {
    const shared = this.#names[0].isShared(session);
    // What is this node's own is all loaded once it is loaded.
    if (!shared && this.#reconciler.loaded) return this.#claims.alone();
    // Whatever may go wrong with Redis, a session is fetched.
    const claim = await this.#claims
      .claim(session, shared, options)
      .catch(() => this.#claims.alone());
    if (claim.kind === 'kept') this.#updates.know(session);
    return claim;
  }

  keep(session: StoredSession, kept: KeptCredentials, roleChanged: boolean): void {
    this.#updates.know(session);
    this.#writes.keep(session, kept, roleChanged);
  }

  revoke(session: StoredSession, kept: KeptCredentials, by: RevokedBy): void {
    this.#writes.revoke(session, kept, by);
  }

  /**
   * Makes what was kept of some sessions, or is being fetched anywhere, of no use; the other
   * brokers let go of them.
   *
   * @returns Whether Redis and the other brokers have been told in time. If not they will be, once
   *   they can be reached.
   */
  flush(choice: FlushChoice): Promise<boolean> {
    return this.#writes.flush(choice);
  }

  #announcements(): AnnouncementState | undefined {
    const subscriber = this.#subscriber;
    if (subscriber === undefined) return undefined;
    const { hears: heard, deafSince, reason } = subscriber;
    const deafFor = deafSince === undefined ? 0 : this.#options.clock.elapsed() - deafSince;
    return { heard, deafFor, reason };
  }

  /** Opens an entry; one that does not open is deleted. */
  #open(entry: Entry): KeptCredentials | undefined {
    const opened = this.#entries.open(entry);
    if (!opened.ok) {
      this.#writes.discard(entry, opened.reason);
      return undefined;
    }
    const { session, kept } = opened;
    if (this.#flushes.beat(session, kept.version)) return undefined;
    if (!this.#writes.sealAnew(session, kept, entry)) this.#writes.index(entry);
    return kept;
  }

  #changed(state: CircuitState): void {
    if (state === 'half-open') return;
    if (state === 'open') {
      this.#waiters.wakeAll();
      return;
    }
    this.#writes.advance();
    this.#reconciler.redisIsBack();
  }
}
