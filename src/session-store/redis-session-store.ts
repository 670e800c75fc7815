import { LRUCache } from 'lru-cache';
import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import type { RedisConfig } from '../config/redis-config.ts';
import { type Announcement, AnnouncementForm } from './announcements.ts';
import type { CircuitState } from './circuit.ts';
import { Claims, type LeaseOutcome } from './claims.ts';
import { Entries, type Entry, type Rejection } from './entries.ts';
import { readKeyFile } from './key-file.ts';
import { Leases } from './leases.ts';
import { Listening } from './listening.ts';
import { loadEntries, reconcile } from './load.ts';
import { Names } from './names.ts';
import { type RedisClient, redisClients } from './redis-client.ts';
import { type CommandResult, type Purpose, RedisLink } from './redis-link.ts';
import { flushScript, type KeepResult, keepScript, revokeScript } from './scripts.ts';
import { Sealer } from './seal.ts';
import type {
  Claim,
  ClaimOptions,
  FlushChoice,
  KeptCredentials,
  SessionHolder,
  SessionStore,
  StoredSession,
} from './session-store.ts';
import { WaitingRoom } from './waiting-room.ts';
import { WriteBehind } from './write-behind.ts';

/** What {@link openRedisSessionStore} is made from. */
export interface RedisSessionStoreOptions {
  readonly clock: Clock;
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
  /** What is not written yet. */
  readonly waiting: number;
}

/** Time for what nobody waits for. */
const BACKGROUND: DurationMs = 1_000;
/** Time to load what was kept. */
const LOADING: DurationMs = 5_000;
/** Sessions whose entries are known by name. */
const MOST_KNOWN = 10_000;
/** After it was away, brokers come back to Redis over such a time. */
const COME_BACK_OVER: DurationMs = 2_000;

/**
 * Opens the store. It is of use as soon as Redis is; until then everything goes on without.
 *
 * @throws KeyFileError, or Error naming a file that cannot be read.
 */
export async function openRedisSessionStore(
  options: RedisSessionStoreOptions,
): Promise<RedisSessionStore> {
  const [keys, client] = await Promise.all([
    readKeyFile(options.config.keyFile),
    redisClients(options.config),
  ]);
  return new RedisSessionStore(options, keys, client);
}

/** Sessions in Redis. */
export class RedisSessionStore implements SessionStore {
  readonly #options: RedisSessionStoreOptions;
  /** By the first key of the file, then by the second. */
  readonly #names: readonly [Names, ...Names[]];
  readonly #entries: Entries;
  readonly #link: RedisLink;
  readonly #listening: Listening | undefined;
  readonly #form: AnnouncementForm;
  readonly #leases: Leases;
  readonly #writes: WriteBehind;
  readonly #waiting: WaitingRoom;
  readonly #claims: Claims;
  readonly #known = new LRUCache<string, StoredSession>({ max: MOST_KNOWN });
  #loaded = false;
  readonly #loading = Promise.withResolvers<void>();
  #stopped = false;

  constructor(
    options: RedisSessionStoreOptions,
    keys: readonly Buffer[],
    client: () => RedisClient,
  ) {
    const { clock, config, clusterName, audience, onCommand } = options;
    const { sharing, nodeName, budget } = config;
    this.#options = options;
    const [first, ...others] = keys.map(
      (key) => new Names(key, { clusterName, nodeName, sharing }),
    );
    this.#names = [first as Names, ...others];
    const sealer = new Sealer(keys);
    this.#entries = new Entries({ clock, sealer, names: this.#names, clusterName, audience });
    this.#form = new AnnouncementForm(sealer, clusterName);
    this.#waiting = new WaitingRoom(clock);
    this.#link = new RedisLink({
      clock,
      client: client(),
      probeKey: this.#names[0].probe,
      budget,
      onCommand,
      onChange: (state) => this.#changed(state),
    });
    this.#leases = new Leases({
      clock,
      link: this.#link,
      onLost: () => options.onLease('lost'),
    });
    this.#writes = new WriteBehind({
      clock,
      open: () => this.#link.state === 'closed',
      onDropped: options.onDropped,
    });
    this.#listening =
      sharing === 'node'
        ? undefined
        : new Listening({
            clock,
            client: client(),
            channel: this.#names[0].channel,
            onMessage: (text) => this.#heard(text),
            onDeafened: () => this.#comeBack(),
          });
    this.#claims = new Claims({
      clock,
      budget,
      link: this.#link,
      names: this.#names,
      leases: this.#leases,
      waiting: this.#waiting,
      form: this.#form,
      hears: () => this.#listening?.hears ?? false,
      open: (entry) => this.#open(entry),
      onLease: options.onLease,
    });
  }

  /** How Redis is doing. */
  get state(): StoreState {
    const { state: circuit, reason } = this.#link;
    return { circuit, reason, waiting: this.#writes.size };
  }

  /**
   * Connects and loads what this node kept.
   *
   * @returns Resolves when that is done, or cannot be for now; it goes on all the same.
   */
  start(): Promise<void> {
    this.#link.start();
    this.#listening?.start();
    return this.#loading.promise;
  }

  /** Writes what can be written within a while, and lets go of Redis. */
  async stop(within: DurationMs): Promise<void> {
    const { clock } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.setTimeout(resolve, within);
    await Promise.race([this.#writes.settled(), promise]);
    clock.clearTimeout(timer);
    this.#stopped = true;
    this.#loading.resolve();
    this.#leases.stop();
    this.#writes.stop();
    this.#listening?.stop();
    this.#link.stop();
    this.#waiting.callAll();
  }

  async claim(session: StoredSession, options: ClaimOptions): Promise<Claim> {
    const shared = this.#names[0].isShared(session);
    // What is this node's own is all loaded once it is loaded.
    if (!shared && this.#loaded) return this.#claims.alone();
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

  revoke(session: StoredSession, kept: KeptCredentials): void {
    const { fetchedAt } = kept;
    const [first] = this.#names;
    this.#writes.add(first.entry(session), async () => {
      await Promise.all(
        this.#names.map((names) =>
          this.#link.script(
            'revoke',
            BACKGROUND,
            revokeScript(names.entry(session), names.index, fetchedAt),
          ),
        ),
      );
      if (first.isShared(session)) {
        await this.#announce({ kind: 'revoked', key: session.key, fetchedAt });
      }
    });
  }

  /**
   * Makes what was kept of some sessions, or is being fetched anywhere, of no use; the other
   * brokers let go of them.
   *
   * @returns Whether Redis has heard of it in time. If not it will, once it can be reached.
   */
  async flush(choice: FlushChoice): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#writes.add(`flush ${JSON.stringify(choice)}`, async () => {
      await this.#flush(choice);
      resolve(true);
    });
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
  }

  async #flush(choice: FlushChoice): Promise<void> {
    const [first] = this.#names;
    const names = this.#names.map((each) => each.flush(choice));
    const script = flushScript(first.sequence, names);
    const version = Number(await this.#link.script('flush', BACKGROUND, script));
    this.#claims.hear(version);
    if (this.#listening === undefined) return;
    await this.#announce({ kind: 'flushed', choice, version });
  }

  async #announce(announcement: Announcement): Promise<void> {
    const { channel } = this.#names[0];
    const text = this.#form.write(announcement);
    await this.#link.send('announce', BACKGROUND, (client) => client.publish(channel, text));
  }

  /** Another broker has something to say. */
  #heard(text: string): void {
    const { holder } = this.#options;
    const said = this.#form.read(text);
    switch (said?.kind) {
      case 'kept': {
        this.#waiting.call(said.entry);
        const session = this.#known.get(said.entry);
        const held = session && holder.find(session.key);
        if (session === undefined || held === undefined) return;
        if (!(held.fetchedAt < said.fetchedAt)) return;
        if (held.wanted || said.roleChanged) this.#refresh(session, held.fetchedAt).catch(nothing);
        return;
      }
      case 'released':
        this.#waiting.call(said.entry);
        return;
      case 'flushed':
        this.#claims.hear(said.version);
        holder.flushBefore(said.choice, said.version);
        return;
      case 'revoked':
        holder.end(said.key, said.fetchedAt);
        return;
    }
  }

  /** Takes in what is newer than what is held. */
  async #refresh(session: StoredSession, newerThan: EpochMs): Promise<void> {
    const kept = await this.#claims.find(session, newerThan, BACKGROUND);
    if (kept !== undefined) this.#options.holder.restore(session, kept);
  }

  /** Opens an entry; one that does not open is deleted. */
  #open(entry: Entry): KeptCredentials | undefined {
    const opened = this.#entries.open(entry);
    if (opened.ok) {
      this.#index(entry);
      return opened.kept;
    }
    this.#reject(entry.name, opened.reason);
    return undefined;
  }

  #reject(name: string, reason: Rejection | 'flushed'): void {
    this.#options.onRejected(reason);
    this.#link.send('revoke', BACKGROUND, (client) => client.del(name)).catch(nothing);
  }

  /** This node holds an entry now: it is to be found after a restart. */
  #index({ name, e }: Entry): void {
    const [{ index }] = this.#names;
    this.#writes.add(`index ${name}`, () =>
      this.#link.send('keep', BACKGROUND, (client) => client.zadd(index, e, name)),
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
      this.#waiting.callAll();
      return;
    }
    this.#writes.advance();
    if (this.#loaded) this.#comeBack();
    else void this.#load().catch(nothing).then(this.#loading.resolve);
  }

  async #load(): Promise<void> {
    const { clock, holder, maxSessions, onLoaded } = this.#options;
    const started = clock.elapsed();
    const { version, found, rejected } = await loadEntries({
      link: this.#link,
      limit: LOADING,
      names: this.#names,
      entries: this.#entries,
      most: maxSessions,
      now: clock.now(),
    });
    this.#claims.hear(version);
    for (const { session, kept } of found) {
      this.#know(session);
      holder.restore(session, kept);
    }
    for (const { name, reason } of rejected) this.#reject(name, reason);
    this.#loaded = true;
    onLoaded(found.length, clock.elapsed() - started);
  }

  /** Redis was away, or was not heard: finds out what was missed, and writes what it has lost. */
  #comeBack(): void {
    if (!this.#loaded || this.#stopped) return;
    const { clock, holder } = this.#options;
    const compare = async () => {
      const sessions = [...holder.held()];
      const differing = await reconcile({
        link: this.#link,
        limit: LOADING,
        names: this.#names,
        sessions,
      });
      for (const { session, kept, is } of differing) {
        if (is === 'flushed') holder.end(session.key, kept.fetchedAt);
        else if (is === 'missing') this.keep(session, kept, false);
        else await this.#refresh(session, kept.fetchedAt);
      }
    };
    clock.setTimeout(() => void compare().catch(nothing), Math.random() * COME_BACK_OVER).unref();
  }
}

/** What fails in the background is counted and felt by the circuit. */
function nothing(): void {}
