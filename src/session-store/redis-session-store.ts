import { LRUCache } from 'lru-cache';
import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import type { RedisConfig } from '../config/redis-config.ts';
import { type Announcement, AnnouncementForm } from './announcements.ts';
import type { CircuitState } from './circuit.ts';
import { Claims, type LeaseOutcome } from './claims.ts';
import { Entries, type Entry, type Rejection } from './entries.ts';
import { HeardFlushes } from './heard-flushes.ts';
import { oneLookupAtATime } from './host-lookup.ts';
import { readKeyFile } from './key-file.ts';
import { LeaseWaiters } from './lease-waiters.ts';
import { Leases } from './leases.ts';
import type { Difference, Loaded } from './load.ts';
import { Names } from './names.ts';
import { Reconciler } from './reconciler.ts';
import { type RedisClients, redisClients } from './redis-client.ts';
import { type CommandResult, type Purpose, RedisLink } from './redis-link.ts';
import {
  discardScript,
  flushScript,
  type KeepResult,
  keepScript,
  revokeScript,
} from './scripts.ts';
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
import { WriteBehind } from './write-behind.ts';

/** What {@link openRedisSessionStore} is made from. */
export interface RedisSessionStoreOptions {
  readonly clock: Clock;
  /** A number from 0 to 1. */
  readonly random: () => number;
  readonly config: RedisConfig;
  readonly clusterName: string;
  readonly audience: string;
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

/** Time for what nobody waits for. */
const BACKGROUND: DurationMs = 1_000;
/** Sessions whose entries are known by name. */
const MOST_KNOWN = 10_000;

/**
 * Opens the store. It is of use as soon as Redis is; until then everything goes on without.
 *
 * @throws KeyFileError, or Error naming a file that cannot be read.
 */
export async function openRedisSessionStore(
  options: RedisSessionStoreOptions,
): Promise<RedisSessionStore> {
  const { config, random } = options;
  const [keys, clients] = await Promise.all([
    readKeyFile(config.keyFile),
    redisClients(config, { random, lookup: oneLookupAtATime() }),
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
  readonly #form: AnnouncementForm;
  readonly #leases: Leases;
  readonly #writes: WriteBehind;
  readonly #waiters: LeaseWaiters;
  readonly #versions: VersionClock;
  readonly #flushes: HeardFlushes;
  readonly #claims: Claims;
  readonly #reconciler: Reconciler;
  readonly #known = new LRUCache<string, StoredSession>({ max: MOST_KNOWN });

  constructor(options: RedisSessionStoreOptions, keys: readonly Buffer[], clients: RedisClients) {
    const { clock, random, config, clusterName, audience, holder, onCommand } = options;
    const { sharing, nodeName, budget } = config;
    this.#options = options;
    const [first, ...others] = keys.map(
      (key) => new Names(key, { clusterName, nodeName, sharing }),
    );
    this.#names = [first as Names, ...others];
    const names = this.#names;
    const sealer = new Sealer(keys);
    this.#entries = new Entries({ clock, sealer, names, clusterName, audience });
    this.#form = new AnnouncementForm(sealer, clusterName);
    this.#waiters = new LeaseWaiters(clock);
    this.#versions = new VersionClock(clock);
    this.#flushes = new HeardFlushes(names[0]);
    this.#link = new RedisLink({
      ...{ clock, random, budget, onCommand },
      client: clients.commands(),
      probeKey: names[0].probe,
      onChange: (state) => this.#changed(state),
    });
    const link = this.#link;
    this.#leases = new Leases({ clock, link, onLost: () => options.onLease('lost') });
    this.#writes = new WriteBehind({
      clock,
      open: () => link.state === 'closed',
      onDropped: options.onDropped,
    });
    const mayHaveMissed = () => this.#reconciler.mayHaveMissed();
    this.#subscriber =
      sharing === 'node'
        ? undefined
        : new Subscriber({
            clock,
            client: clients.subscriber(),
            channel: names[0].channel,
            onMessage: (text) => this.#heard(text),
            onSubscribed: mayHaveMissed,
            onDeafened: mayHaveMissed,
          });
    this.#claims = new Claims({
      ...{ clock, random, budget, link, names },
      leases: this.#leases,
      waiters: this.#waiters,
      versions: this.#versions,
      form: this.#form,
      hears: () => this.#subscriber?.hears ?? false,
      open: (entry) => this.#open(entry),
      onLease: options.onLease,
    });
    this.#reconciler = new Reconciler({
      ...{ clock, random, link, names },
      entries: this.#entries,
      maxSessions: options.maxSessions,
      hears: () => this.#subscriber?.hears,
      held: () => holder.held(),
      onLoaded: (loaded, took) => this.#take(loaded, took),
      onDifference: (difference) => this.#mend(difference),
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
   * @returns Resolves when that is done, or cannot be for now; it goes on all the same.
   */
  start(): Promise<void> {
    this.#link.start();
    this.#subscriber?.start();
    return this.#reconciler.attempted;
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
    const claim = await this.#claims.claim(session, shared, options);
    if (claim.kind === 'kept') this.#know(session);
    return claim;
  }

  keep(session: StoredSession, kept: KeptCredentials, roleChanged: boolean): void {
    const [names] = this.#names;
    const name = names.entry(session);
    this.#know(session);
    this.#writes.add(name, () => this.#keep(session, kept, roleChanged));
  }

  revoke(session: StoredSession, kept: KeptCredentials, by: RevokedBy): void {
    const { fetchedAt } = kept;
    const revoked = { fetchedAt, expiresAt: kept.role.expiresAt, by };
    const [first] = this.#names;
    // Not in the place of an entry that waits to be written: each does no harm to a later other.
    const subject = `revoke ${first.entry(session)}`;
    const write = async () => {
      const now = this.#options.clock.now();
      await Promise.all(
        this.#names.map((names) =>
          this.#link.script(
            'revoke',
            BACKGROUND,
            revokeScript(names.entry(session), names.index, revoked, now),
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
   * Makes what was kept of some sessions, or is being fetched anywhere, of no use; the other
   * brokers let go of them.
   *
   * @returns Whether Redis and the other brokers have been told in time. If not they will be, once
   *   they can be reached.
   */
  async flush(choice: FlushChoice): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    let version: number | undefined;
    const write = async () => {
      // Once is enough: another would beat what has been fetched since.
      version ??= await this.#flush(choice);
      if (this.#subscriber !== undefined) {
        await this.#announce({ kind: 'flushed', choice, version });
      }
      resolve(true);
    };
    this.#writes.add(`flush ${JSON.stringify(choice)}`, write, { essential: true });
    const timer = this.#options.clock.setTimeout(() => resolve(false), BACKGROUND);
    if (this.#link.state !== 'closed') resolve(false);
    return await promise.finally(() => this.#options.clock.clearTimeout(timer));
  }

  async #keep(session: StoredSession, kept: KeptCredentials, roleChanged: boolean): Promise<void> {
    const { clock, holder } = this.#options;
    const [names] = this.#names;
    const lease = names.lease(session);
    if (kept.role.expiresAt <= clock.now()) {
      this.#leases.end(lease, kept.version);
      return;
    }
    const entry = this.#entries.seal(session, kept);
    const told = (announcement: Announcement) =>
      names.isShared(session) ? this.#form.write(announcement) : '';
    const { fetchedAt } = kept;
    const script = keepScript(
      entry,
      {
        lease,
        index: names.index,
        flushes: this.#names.flatMap((each) => each.flushes(session)),
      },
      {
        channel: names.channel,
        kept: told({ kind: 'kept', entry: entry.name, fetchedAt, roleChanged }),
        released: told({ kind: 'released', entry: entry.name }),
      },
      clock.now(),
    );
    const result = (await this.#link.script('keep', BACKGROUND, script)) as KeepResult;
    this.#leases.end(lease, kept.version);
    if (result === 'flushed') holder.end(session.key, fetchedAt);
    else if (result === 'older') await this.#refresh(session, fetchedAt);
    else if (result === 'refused' || result === 'denied') {
      this.#revoked({ key: session.key, fetchedAt, by: result });
    }
  }

  async #flush(choice: FlushChoice): Promise<number> {
    const [first] = this.#names;
    const names = this.#names.map((each) => each.flush(choice));
    const script = flushScript(first.sequence, names);
    const version = Number(await this.#link.script('flush', BACKGROUND, script));
    this.#versions.hear(version);
    this.#flushes.hear(choice, version);
    return version;
  }

  async #announce(announcement: Announcement): Promise<void> {
    const { channel } = this.#names[0];
    const text = this.#form.write(announcement);
    await this.#link.send('announce', BACKGROUND, (client) => client.publish(channel, text));
  }

  #announcements(): AnnouncementState | undefined {
    const subscriber = this.#subscriber;
    if (subscriber === undefined) return undefined;
    const { hears: heard, deafSince, reason } = subscriber;
    const deafFor = deafSince === undefined ? 0 : this.#options.clock.elapsed() - deafSince;
    return { heard, deafFor, reason };
  }

  /** Another broker has something to say. */
  #heard(text: string): void {
    const { holder } = this.#options;
    const said = this.#form.read(text);
    switch (said?.kind) {
      case 'kept': {
        this.#waiters.wake(said.entry);
        const session = this.#known.get(said.entry);
        const held = session && holder.find(session.key);
        if (session === undefined || held === undefined) return;
        if (!(held.fetchedAt < said.fetchedAt)) return;
        // What is missed by this comes to light when all is compared.
        if (held.wanted || said.roleChanged) this.#refresh(session, held.fetchedAt).catch(nothing);
        return;
      }
      case 'released':
        this.#waiters.wake(said.entry);
        return;
      case 'flushed':
        this.#versions.hear(said.version);
        this.#flushes.hear(said.choice, said.version);
        holder.flushBefore(said.choice, said.version);
        return;
      case 'revoked':
        this.#revoked(said);
        return;
    }
  }

  #revoked({ key, fetchedAt, by }: Omit<Extract<Announcement, { kind: 'revoked' }>, 'kind'>): void {
    const { holder } = this.#options;
    if (by === 'denied') holder.renew(key, fetchedAt);
    else holder.end(key, fetchedAt);
  }

  /** Takes in what is newer than what is held. */
  async #refresh(session: StoredSession, newerThan: EpochMs): Promise<void> {
    const kept = await this.#claims.find(session, newerThan, BACKGROUND);
    if (kept !== undefined) this.#restore(session, kept);
  }

  #restore(session: StoredSession, kept: KeptCredentials): void {
    // It may have been read before a flush that was heard of first.
    if (!this.#flushes.beat(session, kept.version)) this.#options.holder.restore(session, kept);
  }

  /** Opens an entry; one that does not open is deleted. */
  #open(entry: Entry): KeptCredentials | undefined {
    const opened = this.#entries.open(entry);
    if (!opened.ok) {
      this.#reject(entry, opened.reason);
      return undefined;
    }
    const { session, kept } = opened;
    if (this.#flushes.beat(session, kept.version)) return undefined;
    if (!this.#sealAnew(session, kept, entry)) this.#index(entry);
    return kept;
  }

  #reject(entry: Entry, reason: Rejection | 'flushed'): void {
    this.#options.onRejected(reason);
    this.#link.script('discard', BACKGROUND, discardScript(entry)).catch(nothing);
  }

  /** Has an entry that is under the old key kept under the new one as well, which outlives it. */
  #sealAnew(session: StoredSession, kept: KeptCredentials, { name }: Entry): boolean {
    if (name === this.#names[0].entry(session)) return false;
    this.keep(session, kept, false);
    return true;
  }

  /** This node holds an entry now: it is to be found after a restart. */
  #index({ name, expiresAt }: Entry): void {
    const [{ index }] = this.#names;
    this.#writes.add(`index ${name}`, () =>
      this.#link.send('keep', BACKGROUND, (client) => client.zadd(index, expiresAt, name)),
    );
  }

  #know(session: StoredSession): void {
    const { key, scope, namespace, serviceAccount } = session;
    for (const names of this.#names) {
      this.#known.set(names.entry(session), { key, scope, namespace, serviceAccount });
    }
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

  /** Takes in what this node had kept. */
  #take({ version, found, rejected }: Loaded, took: DurationMs): void {
    this.#versions.hear(version);
    for (const { session, kept, entry } of found) {
      this.#know(session);
      this.#restore(session, kept);
      this.#sealAnew(session, kept, entry);
    }
    for (const { entry, reason } of rejected) this.#reject(entry, reason);
    this.#options.onLoaded(found.length, took);
  }

  /** Puts right what is held otherwise than it is kept. */
  async #mend({ session, kept, is }: Difference): Promise<void> {
    const { key } = session;
    const { fetchedAt } = kept;
    switch (is) {
      case 'flushed':
        this.#options.holder.end(key, fetchedAt);
        return;
      case 'missing':
        this.keep(session, kept, false);
        return;
      case 'outdated':
        await this.#refresh(session, fetchedAt);
        return;
      default:
        this.#revoked({ key, fetchedAt, by: is });
    }
  }
}

/** What fails in the background is counted and felt by the circuit. */
function nothing(): void {}
