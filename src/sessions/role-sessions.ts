import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import type { SessionScope } from '../config/config.ts';
import type { KeptCredentials, SessionStore } from '../session-store/session-store.ts';
import type { Log } from '../telemetry/log.ts';
import type { RequestTrace, Tracing } from '../telemetry/tracing.ts';
import type { CallPriority } from './call-queue.ts';
import { type FetchFailure, isRemembered } from './failure.ts';
import type { Flight, FlightResult } from './flight.ts';
import type { FlightStart, Flights } from './flights.ts';
import type { LiveToken } from './recent-tokens.ts';
import { Renewals } from './renewals.ts';
import {
  type RetentionRules,
  type ServedCredentials,
  servedCredentials,
} from './served-credentials.ts';
import { type Fetch, type FetchOutcome, Session } from './session.ts';
import type { SessionLog } from './session-log.ts';
import { SessionTable } from './session-table.ts';

/** The time over which renewals are spread that the store has asked for. */
const PROMPT_RENEWAL_SPREAD: DurationMs = 2_000;
/** How long a rank in the queue is kept after the time at which clients were told to retry. */
const PLACE_KEPT_FOR: DurationMs = 30_000;

const SUPERSEDED: FetchFailure = {
  kind: 'superseded',
  code: 'Superseded',
  message: 'the session was flushed while it was fetched',
};

/** What {@link RoleSessions} is made from. */
export interface RoleSessionsOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly flights: Flights;
  readonly maxCredentialRetention: DurationMs;
  /** Sessions held at once; 0: none is kept after its fetch. */
  readonly maxCacheSize: number;
  /** Returns a number from 0 to 1. */
  readonly random: () => number;
  /** Whether a pod is known to be alive on the node. Default: no pod is. */
  readonly isLivePod?: ((podUid: string) => boolean) | undefined;
  /** Keeps sessions over a restart. Default: none. */
  readonly store?: Pick<SessionStore, 'keep' | 'revoke'> | undefined;
  /** Makes spans, if traces are collected. */
  readonly tracing?: Tracing | undefined;
  /** Logs how each fetch ended. Default: none. */
  readonly sessionLog?: SessionLog | undefined;
  /** Called after each renewal with how it ended. */
  readonly onRenewal: (result: FlightResult) => void;
  /** Called when a session is evicted to make room for another. */
  readonly onEviction: () => void;
}

/** A session that has credentials. */
export type Servable = Session & { readonly credentials: ServedCredentials };

/** What {@link RoleSessions.open} has found. */
export type SessionLookup =
  | {
      readonly kind: 'credentials';
      readonly credentials: ServedCredentials;
      /** The latest renewal has failed. */
      readonly stale: boolean;
    }
  | { readonly kind: 'fetch'; readonly fetch: Fetch; readonly joined: boolean }
  /** EKS Auth has just refused this token. */
  | { readonly kind: 'refused'; readonly failure: FetchFailure }
  /** EKS Auth has just refused another token of the session: try again after `wait`. */
  | { readonly kind: 'later'; readonly wait: DurationMs; readonly failure: FetchFailure };

/**
 * The node's role sessions by key. Starts fetches, one per session at a time, keeps the credentials,
 * and has them renewed. When there are too many, the least recently used session is evicted.
 */
export class RoleSessions {
  readonly #options: RoleSessionsOptions;
  readonly #retention: RetentionRules;
  readonly #sessions = new SessionTable();
  readonly #renewals: Renewals;

  constructor(options: RoleSessionsOptions) {
    this.#options = options;
    this.#retention = options;
    const { tracing } = options;
    this.#renewals = new Renewals({
      ...options,
      fetch: (session, live, priority, rank) => {
        const trace = tracing?.renewal(session, session.fetchedBy);
        this.#fetch(session, live, { priority, rank, trace, renewal: true });
      },
      end: (session) => this.#end(session),
      held: () => this.#sessions.held,
    });
  }

  /** Sessions that hold credentials. */
  get size(): number {
    return this.#sessions.held;
  }

  /** EKS Auth denies the renewal of every session of this node. */
  get nodeDenied(): boolean {
    return this.#renewals.nodeDenied;
  }

  /** The session of a key; does not count as a use of it. */
  find(key: string): Session | undefined {
    return this.#sessions.get(key);
  }

  /** All sessions, in no particular order. */
  all(): IterableIterator<Session> {
    return this.#sessions.all();
  }

  /** Whether an unverified token needs no call: its session is held, being fetched, or refused. */
  costsNoCall(key: string, token: string): boolean {
    const session = this.#sessions.get(key);
    if (session === undefined) return false;
    const { clock } = this.#options;
    const { credentials, fetch, refusals, warm } = session;
    if (!warm && credentials !== undefined && clock.now() < credentials.servableUntil) return true;
    return fetch !== undefined || refusals.active(token, clock.elapsed()) !== undefined;
  }

  /** The session of a key, if it has credentials that may be served. Every hit comes here. */
  servable(key: string, now: EpochMs): Servable | undefined {
    const session = this.#sessions.get(key);
    if (session?.credentials === undefined) return undefined;
    if (now >= session.credentials.servableUntil) return undefined;
    this.#sessions.use(session);
    return session as Servable;
  }

  /** Renews a session if it is due. `live` is the request's token, used if there is no better one. */
  renewIfDue(session: Session, live: LiveToken, now: EpochMs): void {
    this.#renewals.renewIfDue(session, live, now);
  }

  /**
   * Returns the session's credentials or the fetch that brings them, which is started if none is in
   * progress.
   *
   * @param key - The session's key, made from verified claims of `live`.
   * @param live - The request's token.
   * @param priority - `unverified` if the token could not be verified here.
   * @param trace - The request's trace.
   */
  open(
    key: string,
    scope: SessionScope,
    live: LiveToken,
    priority: CallPriority,
    trace?: RequestTrace,
  ): SessionLookup {
    const { clock, flights } = this.#options;
    const session = this.#sessions.get(key) ?? new Session(key, scope, live.pod);
    session.tokens.add(live);
    if (priority !== 'unverified') session.proven = true;
    const { credentials, fetch, refusals } = session;
    const proven = priority !== 'unverified' || !session.warm;
    if (proven && credentials !== undefined && clock.now() < credentials.servableUntil) {
      this.#sessions.use(session);
      this.renewIfDue(session, live, clock.now());
      const stale = session.lastFailure !== undefined;
      trace?.lookedUp(stale ? 'stale' : 'hit', session);
      return { kind: 'credentials', credentials, stale };
    }
    if (fetch !== undefined) {
      // If requests wait for a renewal, the session's credentials are about to expire.
      const near = credentials !== undefined && fetch.flight.renewal;
      flights.join(fetch.flight, near ? 'urgent' : priority);
      trace?.lookedUp('joined', session, fetch.flight.trace?.context);
      return { kind: 'fetch', fetch, joined: true };
    }
    const elapsed = clock.elapsed();
    const refusal = refusals.active(live.token, elapsed);
    if (refusal !== undefined) return { kind: 'refused', failure: refusal };
    const wait = refusals.nextTryAt - elapsed;
    if (wait > 0 && session.lastFailure !== undefined) {
      return { kind: 'later', wait, failure: session.lastFailure };
    }
    this.#sessions.add(session);
    const rank = elapsed < session.placeUntil ? session.place : undefined;
    trace?.lookedUp('miss', session);
    const started = this.#fetch(session, live, {
      priority,
      rank,
      renewal: false,
      trace: trace?.fetch(session),
    });
    return { kind: 'fetch', fetch: started, joined: false };
  }

  /** Moves credentials that a token fetched before it was verified to the session of its pod. */
  adopt(tokenKey: string, key: string, scope: SessionScope): void {
    const session = this.#sessions.get(tokenKey);
    const credentials = session?.credentials;
    if (session === undefined || credentials === undefined || this.#sessions.get(key) !== undefined)
      return;
    const adopted = new Session(key, scope, {
      namespace: session.namespace,
      serviceAccount: session.serviceAccount,
    });
    for (const live of session.tokens.live(this.#options.clock.now())) adopted.tokens.add(live);
    adopted.usedAt = session.usedAt;
    adopted.usage = session.usage;
    adopted.proven = true;
    this.#sessions.add(adopted);
    this.#end(session);
    this.#hold(adopted, credentials);
    if (credentials.kept !== undefined) this.#options.store?.keep(adopted, credentials.kept, false);
  }

  /**
   * Takes in credentials from a store, unless the session has newer ones. They are served only to
   * tokens that are verified here.
   *
   * @param proven - {@link Session.proven}.
   */
  restore(
    from: Pick<Session, 'key' | 'scope' | 'namespace' | 'serviceAccount'>,
    kept: KeptCredentials,
    proven = true,
  ): void {
    const { clock } = this.#options;
    const session = this.#sessions.get(from.key) ?? new Session(from.key, from.scope, from);
    if ((session.credentials?.fetchedAt ?? 0) >= kept.fetchedAt) return;
    const credentials = servedCredentials(kept.role, this.#retention, session.usage, kept);
    if (credentials.servableUntil <= clock.now()) return;
    this.#sessions.add(session);
    if (session.credentials === undefined) session.warm = true;
    if (proven) session.proven = true;
    session.lastFailure = undefined;
    this.#hold(session, credentials);
  }

  /** Ends a session if its credentials were fetched at `fetchedAt` or before. */
  endFetchedBy(key: string, fetchedAt: EpochMs): void {
    const session = this.#sessions.get(key);
    if (session?.credentials !== undefined && session.credentials.fetchedAt <= fetchedAt) {
      this.#end(session);
    }
  }

  /**
   * Renews a session if its credentials were fetched at `fetchedAt` or before: within 2 s if it is
   * in use, else with the next request.
   */
  renewFetchedBy(key: string, fetchedAt: EpochMs): void {
    const session = this.#sessions.get(key);
    if (session?.credentials === undefined || session.fetch !== undefined) return;
    if (session.credentials.fetchedAt > fetchedAt) return;
    session.renewAt = this.#options.clock.now();
    if (session.usedSinceFetch)
      this.#renewals.schedule(session, PROMPT_RENEWAL_SPREAD * this.#options.random());
  }

  /** The valid tokens of all sessions of a scope that hold credentials. */
  tokensOfScope(scope: SessionScope): string[] {
    const now = this.#options.clock.now();
    return [...this.#sessions.all()]
      .filter((session) => session.scope === scope && session.credentials !== undefined)
      .flatMap((session) => session.tokens.live(now).map(({ token }) => token));
  }

  /** A pod has left the node: its tokens are not used any more. */
  forgetPod(podUid: string): void {
    for (const session of this.#sessions.all()) session.tokens.removePod(podUid);
  }

  /** Ends the chosen sessions and discards their fetches; returns how many sessions. */
  flush(chosen: (session: Session) => boolean): number {
    let flushed = 0;
    for (const session of [...this.#sessions.all()].filter(chosen)) {
      this.#end(session);
      flushed += 1;
    }
    return flushed;
  }

  /** Leaves renewals to another broker (`true`), or resumes them. Requests are served either way. */
  standBy(on: boolean): void {
    this.#renewals.standBy(on);
    if (on) return;
    // Renewals that fell due meanwhile were skipped, and are made up for.
    const now = this.#options.clock.now();
    for (const session of this.#sessions.all()) {
      const { credentials, fetch, renewAt } = session;
      if (credentials === undefined || fetch !== undefined || now < renewAt) continue;
      this.#renewals.schedule(session, PROMPT_RENEWAL_SPREAD * this.#options.random());
    }
  }

  /** Cancels all renewals. */
  stop(): void {
    for (const session of this.#sessions.all()) session.clearTimer(this.#options.clock);
  }

  #fetch(session: Session, live: LiveToken, how: FlightStart): Fetch {
    const { clock, sessionLog, flights } = this.#options;
    const flight = flights.start(session, live, how);
    const startedAt = clock.elapsed();
    const settled = flight.result.then((result) => {
      sessionLog?.fetchEnded(session, how.renewal, result, clock.elapsed() - startedAt);
      return this.#settle(session, flight, result);
    });
    session.fetch = { flight, settled };
    return session.fetch;
  }

  #settle(session: Session, flight: Flight, result: FlightResult): FetchOutcome {
    session.fetch = undefined;
    if (flight.renewal) this.#options.onRenewal(result);
    if (session.ended) return { ok: false, failure: SUPERSEDED, live: undefined };
    session.place = undefined;
    const evicted = flight.renewal && session.credentials === undefined;
    if (result.ok) {
      const { role, kept } = result;
      const credentials = servedCredentials(role, this.#retention, session.usage, kept);
      session.warm = false;
      session.lastFailure = undefined;
      session.fetchedBy = flight.trace?.context;
      session.refusals.clear();
      if (!result.fromStore) this.#renewals.granted(session);
      // Evicted while it was renewed, and nobody has asked since: others keep their places.
      if (evicted && !flight.hasWaiters) this.#end(session);
      else this.#hold(session, credentials);
      return { ok: true, credentials, live: result.live };
    }
    session.lastFailure = result.failure;
    if (!flight.renewal && flight.place !== undefined) this.#keepPlace(session, flight.place);
    const { failure, live } = result;
    if (live !== undefined && isRemembered(failure)) {
      session.refusals.add(live.token, failure, this.#options.clock.elapsed());
    }
    if (session.credentials === undefined) this.#forgetWhenIdle(session);
    else if (failure.kind === 'refused' && live !== undefined) {
      this.#renewals.refused(session, live);
    } else this.#renewals.failed(session);
    return result;
  }

  /** Keeps a rank for as long as clients may have been told to wait, and 30 s more. */
  #keepPlace(session: Session, place: number): void {
    const { clock, flights } = this.#options;
    session.place = place;
    session.placeUntil = clock.elapsed() + flights.expectedWait + PLACE_KEPT_FOR;
  }

  /** Puts credentials into a session, and evicts others if there are too many. */
  #hold(session: Session, credentials: ServedCredentials): void {
    const { clock, maxCacheSize, maxCredentialRetention } = this.#options;
    if (maxCacheSize === 0 || maxCredentialRetention === 0) {
      this.#end(session);
      return;
    }
    this.#sessions.hold(session, credentials);
    this.#renewals.schedule(session, credentials.renewAt - clock.now());
    while (this.#sessions.held > maxCacheSize) this.#evict();
  }

  #evict(): void {
    const oldest = this.#sessions.leastRecentlyUsed();
    if (oldest === undefined) return;
    this.#options.onEviction();
    if (oldest.fetch === undefined) {
      this.#end(oldest);
      return;
    }
    // Whoever asks next joins the fetch; a second one would run beside it.
    oldest.clearTimer(this.#options.clock);
    this.#sessions.release(oldest);
  }

  #end(session: Session): void {
    session.end(this.#options.clock);
    this.#renewals.ended(session);
    this.#sessions.remove(session);
  }

  /** Ends a session without credentials once its refusals and its rank have expired. */
  #forgetWhenIdle(session: Session): void {
    const { clock } = this.#options;
    const until = Math.max(session.refusals.forgottenAt, session.placeUntil);
    const wait = until - clock.elapsed();
    if (wait <= 0) {
      this.#end(session);
      return;
    }
    session.setTimer(clock, wait, () => {
      if (session.fetch === undefined && session.credentials === undefined) {
        this.#forgetWhenIdle(session);
      }
    });
  }
}
