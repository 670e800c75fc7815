import type { SpanContext } from '@opentelemetry/api';
import type { Clock, DurationMs, EpochMs, MonotonicMs, Timer } from '../clock.ts';
import type { SessionScope } from '../config/config.ts';
import type { PodIdentity } from '../tokens/claims.ts';
import type { FetchFailure } from './failure.ts';
import type { Flight } from './flight.ts';
import { type LiveToken, RecentTokens } from './recent-tokens.ts';
import { Refusals } from './refusals.ts';
import type { ServedCredentials, SessionUsage } from './served-credentials.ts';

/** Where a session stands in its life. */
export type SessionState = 'absent' | 'fetching' | 'fresh' | 'renewing' | 'stale' | 'gone';

/** What a fetch has brought its session. */
export type FetchOutcome =
  | { readonly ok: true; readonly credentials: ServedCredentials; readonly live: LiveToken }
  | { readonly ok: false; readonly failure: FetchFailure; readonly live: LiveToken | undefined };

/** A fetch that is under way for a session. */
export interface Fetch {
  readonly flight: Flight;
  /** Resolves once the session is up to date; never rejects. */
  readonly landed: Promise<FetchOutcome>;
}

/** One role session: what is held for a service account, a pod, or a token. */
export class Session {
  readonly key: string;
  readonly scope: SessionScope;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Tokens to fetch with. */
  readonly tokens = new RecentTokens();
  /** What EKS Auth refused lately, and for which tokens. */
  readonly refusals = new Refusals();
  credentials: ServedCredentials | undefined;
  /** The fetch that is under way; there is never a second one. */
  fetch: Fetch | undefined;
  /** The store's order of events when the latest fetch began; undefined where there is no store. */
  fetchVersion: number | undefined;
  /** What it has done so far; goes over to the session that adopts its credentials. */
  usage: SessionUsage = { served: 0, saved: 0 };
  /** Somebody has asked since the credentials were fetched. */
  usedSinceFetch = false;
  /** Pods that were handed its credentials at some time, of those that were alive at the last look. */
  readonly pods = new Set<string>();
  /**
   * A token that opens it was verified, here or by whoever kept it in a store. What EKS Auth alone
   * has judged is in no store.
   */
  proven = false;
  /** Its credentials come from a store: a token has to be verified here to be served them. */
  warm = false;
  /** Order of use, for eviction. */
  usedAt = 0;
  /** From here on the session is renewed when somebody asks; put off after a failure. */
  renewAt: EpochMs = 0;
  lastFailure: FetchFailure | undefined;
  /** The span of the fetch that brought the credentials, for links to it. */
  fetchedBy: SpanContext | undefined;
  /**
   * The place in the queue of a fetch whose time ran out there: the session's next fetch goes
   * on from it until {@link placeUntil}, or a long queue would be first come, never served.
   */
  place: number | undefined;
  placeUntil: MonotonicMs = Number.NEGATIVE_INFINITY;
  readonly #end = new AbortController();
  #timer: Timer | undefined;

  constructor(
    key: string,
    scope: SessionScope,
    pod: Pick<PodIdentity, 'namespace' | 'serviceAccount'>,
  ) {
    this.key = key;
    this.scope = scope;
    this.namespace = pod.namespace;
    this.serviceAccount = pod.serviceAccount;
  }

  /** A flush, an eviction or a refusal has ended this session: nothing more is kept in it. */
  get ended(): boolean {
    return this.#end.signal.aborted;
  }

  /** Aborted when the session ends: what waits for its turn until then need not be done. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** Ends this session for good. */
  end(clock: Clock): void {
    this.rest(clock);
    this.#end.abort();
  }

  /** Has something done after a while; it has one such date at a time. */
  wake(clock: Clock, delay: DurationMs, then: () => void): void {
    this.rest(clock);
    this.#timer = clock.setTimeout(then, Math.max(0, delay));
    this.#timer.unref();
  }

  /** Has nothing done by itself any more. */
  rest(clock: Clock): void {
    clock.clearTimeout(this.#timer);
  }

  /** Where in its life it is at a time; see docs/architecture.md, "Life of a session". */
  state(now: EpochMs): SessionState {
    if (this.credentials === undefined) return this.fetch === undefined ? 'absent' : 'fetching';
    if (now >= this.credentials.servableUntil)
      return this.fetch === undefined ? 'gone' : 'fetching';
    if (this.fetch !== undefined) return 'renewing';
    return this.lastFailure === undefined ? 'fresh' : 'stale';
  }
}
