import type { SpanContext } from '@opentelemetry/api';
import type { Clock, DurationMs, EpochMs, MonotonicMs, Timer } from '../clock.ts';
import type { SessionScope } from '../config/config.ts';
import type { PodIdentity } from '../tokens/claims.ts';
import type { FetchFailure } from './failure.ts';
import type { Flight } from './flight.ts';
import { type LiveToken, RecentTokens } from './recent-tokens.ts';
import { Refusals } from './refusals.ts';
import type { ServedCredentials, SessionUsage } from './served-credentials.ts';

/** The state of a session; see docs/architecture.md, "Life of a session". */
export type SessionState = 'absent' | 'fetching' | 'fresh' | 'renewing' | 'stale' | 'gone';

/** How a fetch has ended for its session. */
export type FetchOutcome =
  | { readonly ok: true; readonly credentials: ServedCredentials; readonly live: LiveToken }
  | { readonly ok: false; readonly failure: FetchFailure; readonly live: LiveToken | undefined };

/** A fetch in progress for a session. */
export interface Fetch {
  readonly flight: Flight;
  /** Resolves once the flight has ended and the session is updated; never rejects. */
  readonly settled: Promise<FetchOutcome>;
}

/** One role session, of a service account, a pod or a token. */
export class Session {
  readonly key: string;
  readonly scope: SessionScope;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Tokens that it can be fetched with. */
  readonly tokens = new RecentTokens();
  /** Which tokens EKS Auth has refused recently, and why. */
  readonly refusals = new Refusals();
  credentials: ServedCredentials | undefined;
  /** The fetch in progress; there is only one at a time. */
  fetch: Fetch | undefined;
  /** The store's version when the latest fetch started; undefined without a store. */
  fetchVersion: number | undefined;
  /** Its counts; a session that adopts its credentials takes them over. */
  usage: SessionUsage = { served: 0, saved: 0 };
  /** A request has come since the credentials were fetched. */
  usedSinceFetch = false;
  /** Pods that were given its credentials and were alive when last checked. */
  readonly pods = new Set<string>();
  /**
   * A token of the session was verified, by this broker or the one that stored it. Otherwise only
   * EKS Auth has accepted its token, and the session is not stored.
   */
  proven = false;
  /** Its credentials come from a store: they are served only to tokens verified here. */
  warm = false;
  /** Order of use, for eviction. */
  usedAt = 0;
  /** From this time on the next request renews the session; postponed after a failure. */
  renewAt: EpochMs = 0;
  /** Why the latest fetch failed; undefined if it did not. */
  lastFailure: FetchFailure | undefined;
  /** The span of the fetch that brought the credentials, to link to. */
  fetchedBy: SpanContext | undefined;
  /**
   * The rank of a fetch that timed out in the queue. The session's next fetch gets it until
   * {@link placeUntil}; otherwise, in a long queue, its turn would never come.
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

  /** Whether the session was ended by a flush, an eviction or a refusal. It is not used again. */
  get ended(): boolean {
    return this.#end.signal.aborted;
  }

  /** Aborted when the session ends: its calls need not be made any more. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** Ends this session. */
  end(clock: Clock): void {
    this.clearTimer(clock);
    this.#end.abort();
  }

  /** Calls `then` after `delay`. A session has one timer: this replaces an earlier one. */
  setTimer(clock: Clock, delay: DurationMs, then: () => void): void {
    this.clearTimer(clock);
    this.#timer = clock.setTimeout(then, Math.max(0, delay));
    this.#timer.unref();
  }

  /** Cancels the timer. */
  clearTimer(clock: Clock): void {
    clock.clearTimeout(this.#timer);
  }

  /** Its state at `now`. */
  state(now: EpochMs): SessionState {
    if (this.credentials === undefined) return this.fetch === undefined ? 'absent' : 'fetching';
    if (now >= this.credentials.servableUntil)
      return this.fetch === undefined ? 'gone' : 'fetching';
    if (this.fetch !== undefined) return 'renewing';
    return this.lastFailure === undefined ? 'fresh' : 'stale';
  }
}
