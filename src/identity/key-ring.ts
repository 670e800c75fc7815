import type { JSONWebKeySet, JWK } from 'jose';
import type { Clock, DurationMs, EpochMs, MonotonicMs, Timer } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';
import { CLOCK_TOLERANCE } from '../tokens/claims.ts';
import type { KeySet } from '../tokens/verify.ts';
import type { CachedKeys, KeyCache } from './key-cache.ts';
import type { KeySource } from './key-sources.ts';

/** How often the keys are refreshed. */
export const REFRESH_INTERVAL: DurationMs = 10 * 60_000;
/** The shortest time between fetches because of unknown keys, however many arrive. */
export const UNKNOWN_KEY_COOLDOWN: DurationMs = 30_000;
/** How often the keys are fetched while there are none. */
const RETRY_INTERVAL: DurationMs = 5_000;
/** How long the cache may take to be read; as long as any source of keys. */
const RECALL_TIMEOUT: DurationMs = 2_000;
/** How long keys are used to verify tokens after a source has last confirmed them. */
export const UNCONFIRMED_LIFETIME: DurationMs = 24 * 3_600_000;

/** Number of key sets so far, in all rings: worker threads tell sets apart by their ids. */
let keySets = 0;

/** What a {@link KeyRing} is made from. */
export interface KeyRingOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** The sources of an issuer's keys, in the order in which to ask them. */
  readonly sourcesOf: (issuer: string) => readonly KeySource[];
  /** Called when keys were replaced; `isPublished`: whether a key id still has the same key. */
  readonly onChange: (isPublished: (kid: string | undefined) => boolean) => void;
  /** How long requests wait for the first fetch of keys, all together. */
  readonly patience: DurationMs;
  /** Keeps keys over a restart. Default: none. */
  readonly cache?: Pick<KeyCache, 'read' | 'write'> | undefined;
  /** The cluster that cached keys must belong to. */
  readonly clusterName: string;
}

/**
 * The issuer's public keys. They are fetched when the issuer becomes known, then every 10 minutes,
 * and when a token names an unknown key. If their sources fail, they are kept for 24 hours.
 *
 * A key set is `proven` once it has verified a token. Until then it may be the wrong set, and no
 * token is refused because of it.
 */
export class KeyRing {
  readonly #options: KeyRingOptions;
  #issuer: string | undefined;
  /** The issuer comes from an earlier run, and may have changed since. */
  #remembered = false;
  #sources: readonly KeySource[] = [];
  #keys: KeySet | undefined;
  #confirmedAt: EpochMs = 0;
  #proven = false;
  #lastFetchFailed = false;
  #fetching: Promise<boolean> | undefined;
  #unknownKeyAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  #cachedKeys: CachedKeys | undefined;
  /** What is to be written to the cache next. */
  #unkept: CachedKeys | undefined;
  /** Keys are being written to the cache. */
  #keeping: Promise<void> | undefined;
  #search: Promise<void> | undefined;
  #waitedSince: MonotonicMs | undefined;
  #timer: Timer | undefined;
  #unknownKeyTimer: Timer | undefined;
  readonly #listeners = new Set<() => void>();
  #stopped = false;

  constructor(options: KeyRingOptions) {
    this.#options = options;
  }

  /** The issuer of this cluster's tokens; undefined until it is known. */
  get issuer(): string | undefined {
    return this.#issuer;
  }

  /** Whether the issuer is known, and not only from an earlier run. */
  get settled(): boolean {
    return this.#issuer !== undefined && !this.#remembered;
  }

  /** The keys to verify with; undefined while there are no usable ones. */
  get keys(): KeySet | undefined {
    const now = this.#options.clock.now();
    return now - this.#confirmedAt > UNCONFIRMED_LIFETIME ? undefined : this.#keys;
  }

  /** When a source last confirmed the keys; undefined while there are none. */
  get confirmedAt(): EpochMs | undefined {
    return this.#keys === undefined ? undefined : this.#confirmedAt;
  }

  /** Whether the keys have verified a token, so that tokens they do not verify can be refused. */
  get proven(): boolean {
    return this.#proven;
  }

  /** Whether the last fetch failed, so that newly published keys may be missing here. */
  get outdated(): boolean {
    return this.#lastFetchFailed;
  }

  /** Resolves when the first fetch of keys has ended, or `patience` has passed. */
  async decided(): Promise<void> {
    if (this.#keys !== undefined || this.#lastFetchFailed) return;
    const pending = this.#fetching ?? this.#search;
    if (pending === undefined) return;
    const { clock, patience } = this.#options;
    const left = (this.#waitedSince ?? clock.elapsed()) + patience - clock.elapsed();
    if (left <= 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.setTimeout(resolve, left);
    await Promise.race([pending, promise]);
    clock.clearTimeout(timer);
  }

  /** Makes requests wait for the search for the issuer, as for the first keys. */
  waitFor(search: Promise<void>): void {
    this.#search = search
      .catch((error: unknown) => {
        // Its threads end with the broker.
        if (this.#stopped) return;
        this.#options.log.error({ err: error }, 'the search for the issuer failed');
      })
      .finally(() => {
        this.#search = undefined;
      });
  }

  /** Starts the time for which requests wait (`patience`). */
  startWait(): void {
    this.#waitedSince ??= this.#options.clock.elapsed();
  }

  /**
   * Reads the keys that an earlier run has cached. They are used if no source gives keys.
   *
   * @returns Their issuer; undefined if there are no usable ones.
   */
  async recall(): Promise<string | undefined> {
    const { cache, clusterName, clock, log } = this.#options;
    // On a volume that hangs nothing ends.
    const late = Promise.withResolvers<never>();
    const timer = clock.setTimeout(
      () => late.reject(new Error(`not read within ${RECALL_TIMEOUT} ms`)),
      RECALL_TIMEOUT,
    );
    try {
      const kept = await Promise.race([cache?.read(clusterName), late.promise]);
      if (kept === undefined) return undefined;
      const age = clock.now() - kept.confirmedAt;
      if (!(age >= -CLOCK_TOLERANCE && age <= UNCONFIRMED_LIFETIME)) return undefined;
      this.#cachedKeys = kept;
      return kept.issuer;
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'kept keys are not used');
      return undefined;
    } finally {
      clock.clearTimeout(timer);
    }
  }

  /**
   * Calls `listener` once, when the next fetch of keys has ended.
   *
   * @returns A function that removes the listener.
   */
  onceFetched(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Sets the issuer, from a source that is trusted, and fetches its keys.
   *
   * @param remembered - It comes from an earlier run: {@link learnIssuer} may replace it.
   * @returns Whether the keys have changed.
   */
  useIssuer(issuer: string, { remembered = false } = {}): Promise<boolean> {
    this.#remembered = remembered;
    if (this.#issuer === issuer) return this.#fetching ?? Promise.resolve(false);
    this.#issuer = issuer;
    this.#proven = false;
    this.#lastFetchFailed = false;
    this.#sources = this.#options.sourcesOf(issuer);
    return this.fetch();
  }

  /**
   * EKS Auth has accepted a token of `issuer`, so it is this cluster's. It is used if no issuer is
   * known, or only one from an earlier run whose keys have verified no token since.
   */
  learnIssuer(issuer: string): void {
    if (this.#issuer !== undefined && !(this.#remembered && !this.#proven)) return;
    void this.useIssuer(issuer);
  }

  /** A token has verified under the key set `id`. */
  prove(id: number): void {
    if (this.#keys?.id === id) this.#proven = true;
  }

  /**
   * A token names a key that is not in the set: fetches the keys again. If that was done within the
   * last 30 s, it is done again when they have passed.
   *
   * @returns Whether the keys have changed.
   */
  async refreshForUnknownKey(): Promise<boolean> {
    const { clock } = this.#options;
    const wait = this.#unknownKeyAt + UNKNOWN_KEY_COOLDOWN - clock.elapsed();
    if (wait <= 0) {
      this.#unknownKeyAt = clock.elapsed();
      return await this.fetch();
    }
    if (this.#fetching !== undefined) return await this.#fetching;
    this.#unknownKeyTimer ??= clock.setTimeout(() => {
      this.#unknownKeyTimer = undefined;
      this.#unknownKeyAt = clock.elapsed();
      void this.fetch();
    }, wait);
    this.#unknownKeyTimer.unref();
    return false;
  }

  /**
   * Asks the sources in turn until one gives keys. Concurrent calls share one fetch.
   *
   * @returns Whether the keys have changed; never rejects.
   */
  fetch(): Promise<boolean> {
    this.#fetching ??= this.#fetchOnce().finally(() => {
      this.#fetching = undefined;
      this.#schedule();
      const listeners = [...this.#listeners];
      this.#listeners.clear();
      for (const listener of listeners) listener();
    });
    return this.#fetching;
  }

  /** Cancels all fetches to come. */
  stop(): void {
    this.#stopped = true;
    this.#options.clock.clearTimeout(this.#timer);
    this.#options.clock.clearTimeout(this.#unknownKeyTimer);
  }

  async #fetchOnce(): Promise<boolean> {
    const { log, clock } = this.#options;
    const issuer = this.#issuer;
    if (issuer === undefined) return false;
    this.#waitedSince ??= clock.elapsed();
    const failures: string[] = [];
    for (const source of this.#sources) {
      let jwks: JSONWebKeySet;
      try {
        jwks = await source.fetch();
      } catch (error) {
        // Another issuer was learned meanwhile: fetch its keys.
        if (issuer !== this.#issuer) return await this.#fetchOnce();
        failures.push((error as Error).message);
        continue;
      }
      if (issuer !== this.#issuer) return await this.#fetchOnce();
      if (this.#lastFetchFailed) log.info({ issuer, source: source.name }, 'keys can be had again');
      this.#lastFetchFailed = false;
      this.#confirmedAt = clock.now();
      this.#keep(issuer, jwks);
      return this.#replace(issuer, jwks, source.name);
    }
    if (failures.length === 0) failures.push('there is no source of keys for this issuer');
    // Logged once, not at every attempt.
    if (!this.#lastFetchFailed) {
      log.warn({ issuer, failures, keysKept: this.#keys !== undefined }, 'no source gave keys');
    }
    this.#lastFetchFailed = true;
    if (this.#keys !== undefined || this.#cachedKeys?.issuer !== issuer) return false;
    this.#confirmedAt = this.#cachedKeys.confirmedAt;
    return this.#replace(issuer, this.#cachedKeys.jwks, 'kept by an earlier run');
  }

  #keep(issuer: string, jwks: JSONWebKeySet): void {
    const { cache, clusterName } = this.#options;
    if (cache === undefined) return;
    this.#unkept = { clusterName, issuer, jwks, confirmedAt: this.#confirmedAt };
    // One at a time: a write that hangs keeps one of the few threads for files.
    this.#keeping ??= this.#keepAll(cache).finally(() => {
      this.#keeping = undefined;
    });
  }

  async #keepAll(cache: Pick<KeyCache, 'write'>): Promise<void> {
    for (let keys = this.#unkept; keys !== undefined; keys = this.#unkept) {
      this.#unkept = undefined;
      await cache.write(keys).catch((error: unknown) => {
        const reason = (error as Error).message;
        this.#options.log.warn({ reason }, 'keys cannot be kept');
      });
    }
  }

  #replace(issuer: string, jwks: JSONWebKeySet, source: string): boolean {
    const before = this.#keys;
    const kept = publishedBy(jwks);
    const changed = before === undefined || fingerprint(before.jwks) !== fingerprint(jwks);
    if (!changed && before?.issuer === issuer) return false;
    keySets += 1;
    this.#keys = { id: keySets, issuer, jwks };
    this.#options.log.info(
      { issuer, source, kids: jwks.keys.map((key) => key.kid) },
      'token issuer keys loaded',
    );
    const known = before === undefined ? kept : publishedBy(before.jwks);
    // A set without any key of the proven one is not proven.
    this.#proven &&= [...kept].some(([kid, key]) => known.get(kid) === key);
    this.#options.onChange((kid) => {
      // Without a key id the key is not known: such tokens are verified again.
      if (kid === undefined) return false;
      const material = kept.get(kid);
      return material !== undefined && material === known.get(kid);
    });
    return true;
  }

  #schedule(): void {
    const { clock } = this.#options;
    clock.clearTimeout(this.#timer);
    if (this.#stopped || this.#issuer === undefined) return;
    const delay = this.#keys === undefined ? RETRY_INTERVAL : REFRESH_INTERVAL;
    this.#timer = clock.setTimeout(() => void this.fetch(), delay);
    this.#timer.unref();
  }
}

/** Key material by key id. */
function publishedBy(jwks: JSONWebKeySet): Map<string, string> {
  const published = new Map<string, string>();
  for (const key of jwks.keys) if (key.kid !== undefined) published.set(key.kid, material(key));
  return published;
}

function material(key: JWK): string {
  return JSON.stringify([key.kty, key.n, key.e, key.crv, key.x, key.y, key.alg]);
}

function fingerprint(jwks: JSONWebKeySet): string {
  return JSON.stringify(jwks.keys.map((key) => `${key.kid} ${material(key)}`).toSorted());
}
