import type { JSONWebKeySet, JWK } from 'jose';
import type { Clock, DurationMs, EpochMs, MonotonicMs, Timer } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';
import { CLOCK_TOLERANCE } from '../tokens/claims.ts';
import type { KeySet } from '../tokens/verify.ts';
import type { CachedKeys, KeyCache } from './key-cache.ts';
import type { KeySource } from './key-sources.ts';

/** How often the keys are fetched again. */
export const REFRESH_INTERVAL: DurationMs = 10 * 60_000;
/** The least time between fetches that unknown keys bring about, however many arrive. */
export const UNKNOWN_KEY_COOLDOWN: DurationMs = 30_000;
/** The least time between fetches while there are no keys at all. */
const RETRY_INTERVAL: DurationMs = 5_000;
/** How long keys that no source has confirmed go on verifying new tokens. */
export const UNCONFIRMED_LIFETIME: DurationMs = 24 * 3_600_000;

/** Key sets so far, of all rings: threads tell sets by their ids, so no two have the same. */
let sets = 0;

/** What a {@link KeyRing} is made from. */
export interface KeyRingOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Where the keys of an issuer can be had, in the order to ask. */
  readonly sourcesOf: (issuer: string) => readonly KeySource[];
  /** Called when keys were replaced, with what tells whether a key id is still published. */
  readonly onChange: (isPublished: (kid: string | undefined) => boolean) => void;
  /** How long requests wait for the first fetch of keys. */
  readonly patience: DurationMs;
  /** Keeps keys over a restart. Default is nowhere. */
  readonly cache?: Pick<KeyCache, 'read' | 'write'> | undefined;
  /** The cluster that kept keys must belong to. */
  readonly clusterName: string;
}

/**
 * The issuer's public keys: fetched when the issuer becomes known, then every 10 minutes and
 * for an unknown key; kept while their source is away.
 *
 * A set is `proven` once a token has verified under it. Until then it may be the wrong set,
 * and must not be the reason to refuse anybody.
 */
export class KeyRing {
  readonly #options: KeyRingOptions;
  #issuer: string | undefined;
  /** The issuer is that of an earlier run, which the cluster may have changed since. */
  #remembered = false;
  #sources: readonly KeySource[] = [];
  #keys: KeySet | undefined;
  #confirmedAt: EpochMs = 0;
  #proven = false;
  #lastFetchFailed = false;
  #fetching: Promise<boolean> | undefined;
  #unknownKeyAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  #kept: CachedKeys | undefined;
  #search: Promise<void> | undefined;
  #waitedSince: MonotonicMs | undefined;
  #timer: Timer | undefined;
  #unknownKeyTimer: Timer | undefined;
  readonly #listeners = new Set<() => void>();
  #stopped = false;

  constructor(options: KeyRingOptions) {
    this.#options = options;
  }

  /** The issuer that tokens must have; undefined until it is known. */
  get issuer(): string | undefined {
    return this.#issuer;
  }

  /** The issuer is known, and not merely from an earlier run. */
  get settled(): boolean {
    return this.#issuer !== undefined && !this.#remembered;
  }

  /** The keys to verify under; undefined while there are none that may be used. */
  get keys(): KeySet | undefined {
    const now = this.#options.clock.now();
    return now - this.#confirmedAt > UNCONFIRMED_LIFETIME ? undefined : this.#keys;
  }

  /** When a source last confirmed the keys; undefined while there are none. */
  get confirmedAt(): EpochMs | undefined {
    return this.#keys === undefined ? undefined : this.#confirmedAt;
  }

  /** A token has verified under these keys, so what does not verify can be refused. */
  get proven(): boolean {
    return this.#proven;
  }

  /** The last attempt to fetch the keys failed: a key may be published and unknown here. */
  get outdated(): boolean {
    return this.#lastFetchFailed;
  }

  /** Resolves when the first fetch of keys has ended, or has taken longer than is waited for. */
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

  /** The issuer is being searched for: requests wait for that as for the first keys. */
  await(search: Promise<void>): void {
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

  /** From now on the patience of all who wait runs out. */
  searching(): void {
    this.#waitedSince ??= this.#options.clock.elapsed();
  }

  /**
   * Reads the keys that an earlier run kept: they serve while their source is away.
   *
   * @returns The issuer that they belong to; undefined when none can be used.
   */
  async recall(): Promise<string | undefined> {
    const { cache, clusterName, clock, log } = this.#options;
    try {
      const kept = await cache?.read(clusterName);
      if (kept === undefined) return undefined;
      const age = clock.now() - kept.confirmedAt;
      if (!(age >= -CLOCK_TOLERANCE && age <= UNCONFIRMED_LIFETIME)) return undefined;
      this.#kept = kept;
      return kept.issuer;
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'kept keys are not used');
      return undefined;
    }
  }

  /**
   * Calls `listener` once, when a fetch of keys has ended.
   *
   * @returns What takes the listener back.
   */
  onceFetched(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Sets the issuer, from a source that is trusted, and fetches its keys.
   *
   * @param remembered - It is that of an earlier run: {@link learnIssuer} may put another in its
   *   place.
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
   * EKS Auth has accepted a token of `issuer`, which is this cluster's then: it is used if none is
   * known, or if the one of an earlier run has not signed a single token that was seen since.
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
   * A token names a key that is not in the set: fetches the keys again, unless that was done
   * within the last 30 s; then it is done once they have passed.
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
   * Asks the sources in turn until one gives keys. One fetch at a time: whoever asks
   * meanwhile gets its outcome.
   *
   * @returns Whether the keys have changed; it never rejects.
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

  /** Fetches nothing any more. */
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
        // Another issuer was learned meanwhile: what came of this one's keys does not matter.
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
    // Said once, not at every attempt.
    if (!this.#lastFetchFailed) {
      log.warn({ issuer, failures, keysKept: this.#keys !== undefined }, 'no source gave keys');
    }
    this.#lastFetchFailed = true;
    if (this.#keys !== undefined || this.#kept?.issuer !== issuer) return false;
    this.#confirmedAt = this.#kept.confirmedAt;
    return this.#replace(issuer, this.#kept.jwks, 'kept by an earlier run');
  }

  #keep(issuer: string, jwks: JSONWebKeySet): void {
    const { cache, clusterName, log } = this.#options;
    cache
      ?.write({ clusterName, issuer, jwks, confirmedAt: this.#confirmedAt })
      .catch((error: unknown) => {
        log.warn({ reason: (error as Error).message }, 'keys cannot be kept');
      });
  }

  #replace(issuer: string, jwks: JSONWebKeySet, source: string): boolean {
    const before = this.#keys;
    const kept = publishedBy(jwks);
    const changed = before === undefined || fingerprint(before.jwks) !== fingerprint(jwks);
    if (!changed && before?.issuer === issuer) return false;
    sets += 1;
    this.#keys = { id: sets, issuer, jwks };
    this.#options.log.info(
      { issuer, source, kids: jwks.keys.map((key) => key.kid) },
      'token issuer keys loaded',
    );
    const known = before === undefined ? kept : publishedBy(before.jwks);
    // A set that shares no key with the proven one has proven nothing yet.
    this.#proven &&= [...kept].some(([kid, key]) => known.get(kid) === key);
    this.#options.onChange((kid) => {
      // Without a key id nothing tells which key it was: such tokens are verified again.
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
