import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import type { SessionScope } from '../config/config.ts';
import type { KeptCredentials, SessionStore } from '../session-store/session-store.ts';
import type { Log } from '../telemetry/log.ts';
import type { RequestTrace, Tracing } from '../telemetry/tracing.ts';
import type { CallPriority } from './call-queue.ts';
import type { FetchFailure } from './failure.ts';
import type { Flight, FlightResult, FlightStart, Flights } from './flight.ts';
import type { LiveToken } from './recent-tokens.ts';
import { Renewals } from './renewals.ts';
import {
  type RetentionRules,
  type ServedCredentials,
  servedCredentials,
} from './served-credentials.ts';
import { type Fetch, type FetchOutcome, Session } from './session.ts';
import type { SessionLog } from './session-log.ts';

/** Over what time sessions are renewed that another node may have more luck with. */
const SOON: DurationMs = 2_000;
/** How long a place in the queue is kept after whoever waits for it was told to ask again. */
const PLACE_KEPT: DurationMs = 30_000;

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
  /** Sessions held at once; 0: none is held beyond its fetch. */
  readonly maxCacheSize: number;
  readonly random: () => number;
  /** Whether a pod is known to be on the node and alive. Default is that none is known to be. */
  readonly isLivePod?: ((podUid: string) => boolean) | undefined;
  /** Keeps sessions over a restart. Default is none. */
  readonly store?: Pick<SessionStore, 'keep' | 'revoke'> | undefined;
  /** Makes spans, where traces are collected. */
  readonly tracing?: Tracing | undefined;
  /** Says how each fetch ended. Default is nobody. */
  readonly sessionLog?: SessionLog | undefined;
  /** Called after each renewal with how it ended. */
  readonly onRenewal: (result: FlightResult) => void;
  /** Called when a session makes room for another. */
  readonly onEviction: () => void;
}

/** A session that has credentials. */
export type Servable = Session & { readonly credentials: ServedCredentials };

/** What a session has for whoever asks. */
export type SessionLookup =
  | {
      readonly kind: 'credentials';
      readonly credentials: ServedCredentials;
      /** Its renewal fails. */
      readonly stale: boolean;
    }
  | { readonly kind: 'fetch'; readonly fetch: Fetch; readonly joined: boolean }
  /** EKS Auth has just refused this very token. */
  | { readonly kind: 'refused'; readonly failure: FetchFailure }
  /** EKS Auth has just refused another token of the session: this one's turn comes later. */
  | { readonly kind: 'later'; readonly wait: DurationMs; readonly failure: FetchFailure };

/**
 * The node's role sessions by key: who holds credentials, who is being fetched, and when each
 * is renewed. One fetch a session at a time; the least recently used session goes first.
 */
export class RoleSessions {
  readonly #options: RoleSessionsOptions;
  readonly #retention: RetentionRules;
  readonly #sessions = new Map<string, Session>();
  readonly #renewals: Renewals;
  #cached = 0;
  #uses = 0;

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
      held: () => this.#cached,
    });
  }

  /** Sessions that hold credentials. */
  get size(): number {
    return this.#cached;
  }

  /** EKS Auth denies the renewal of every session. */
  get nodeDenied(): boolean {
    return this.#renewals.nodeDenied;
  }

  /** The session of a key, as it is; looking at it does not count as asking for it. */
  find(key: string): Session | undefined {
    return this.#sessions.get(key);
  }

  /** All sessions, in no particular order. */
  all(): IterableIterator<Session> {
    return this.#sessions.values();
  }

  /** Whether a token without proof costs no call: its session is there, on its way, or refused. */
  isAnswered(key: string, token: string): boolean {
    const session = this.#sessions.get(key);
    if (session === undefined) return false;
    const { clock } = this.#options;
    const { credentials, fetch, refusals, warm } = session;
    if (!warm && credentials !== undefined && clock.now() < credentials.servableUntil) return true;
    return fetch !== undefined || refusals.standing(token, clock.elapsed()) !== undefined;
  }

  /** The session of a key, if it has credentials that may be served; the way of every hit. */
  servable(key: string, now: EpochMs): Servable | undefined {
    const session = this.#sessions.get(key);
    if (session?.credentials === undefined) return undefined;
    if (now >= session.credentials.servableUntil) return undefined;
    this.#use(session);
    return session as Servable;
  }

  /** Renews a session that is due, with the token of whoever asked when nothing better is known. */
  renewIfDue(session: Session, live: LiveToken, now: EpochMs): void {
    this.#renewals.ifDue(session, live, now);
  }

  /**
   * Gives whoever asks the session's credentials, or the flight that brings them: the one
   * under way, or one that is started for it.
   *
   * @param key - The session's key, made from what was proven about `live`.
   * @param live - The token of whoever asks.
   * @param trace - The trace of whoever asks.
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
      this.#use(session);
      this.renewIfDue(session, live, clock.now());
      const stale = session.lastFailure !== undefined;
      trace?.lookedUp(stale ? 'stale' : 'hit', session);
      return { kind: 'credentials', credentials, stale };
    }
    if (fetch !== undefined) {
      // A session that holds something is near its end, or its pods would not have to wait.
      const near = credentials !== undefined && fetch.flight.renewal;
      flights.join(fetch.flight, near ? 'urgent' : priority);
      trace?.lookedUp('joined', session, fetch.flight.trace?.context);
      return { kind: 'fetch', fetch, joined: true };
    }
    const elapsed = clock.elapsed();
    const standing = refusals.standing(live.token, elapsed);
    if (standing !== undefined) return { kind: 'refused', failure: standing };
    const wait = refusals.nextTryAt - elapsed;
    if (wait > 0 && session.lastFailure !== undefined) {
      return { kind: 'later', wait, failure: session.lastFailure };
    }
    this.#sessions.set(key, session);
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

  /** Moves what a token fetched before it could be verified to the session that it opens. */
  adopt(tokenKey: string, key: string, scope: SessionScope): void {
    const session = this.#sessions.get(tokenKey);
    const credentials = session?.credentials;
    if (session === undefined || credentials === undefined || this.#sessions.has(key)) return;
    const adopted = new Session(key, scope, {
      namespace: session.namespace,
      serviceAccount: session.serviceAccount,
    });
    for (const live of session.tokens.live(this.#options.clock.now())) adopted.tokens.add(live);
    adopted.usedAt = session.usedAt;
    adopted.usage = session.usage;
    adopted.proven = true;
    this.#sessions.set(key, adopted);
    this.#end(session);
    this.#hold(adopted, credentials);
    if (credentials.kept !== undefined) this.#options.store?.keep(adopted, credentials.kept, false);
  }

  /**
   * Takes in what a store has kept, unless there is something newer. Only tokens that are
   * verified here are served it.
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
    this.#sessions.set(session.key, session);
    if (session.credentials === undefined) session.warm = true;
    if (proven) session.proven = true;
    session.lastFailure = undefined;
    this.#hold(session, credentials);
  }

  /** Lets go of a session if what it holds was fetched no later than this. */
  endFetchedBy(key: string, fetchedAt: EpochMs): void {
    const session = this.#sessions.get(key);
    if (session?.credentials !== undefined && session.credentials.fetchedAt <= fetchedAt) {
      this.#end(session);
    }
  }

  /**
   * Renews a session soon if what it holds was fetched no later than this, and somebody wants it;
   * else when somebody next does.
   */
  renewFetchedBy(key: string, fetchedAt: EpochMs): void {
    const session = this.#sessions.get(key);
    if (session?.credentials === undefined || session.fetch !== undefined) return;
    if (session.credentials.fetchedAt > fetchedAt) return;
    session.renewAt = this.#options.clock.now();
    if (session.usedSinceFetch) this.#renewals.schedule(session, SOON * this.#options.random());
  }

  /** Live tokens of the sessions of a scope that hold credentials. */
  tokensOfScope(scope: SessionScope): string[] {
    const now = this.#options.clock.now();
    return [...this.#sessions.values()]
      .filter((session) => session.scope === scope && session.credentials !== undefined)
      .flatMap((session) => session.tokens.live(now).map(({ token }) => token));
  }

  /** A pod is gone: nothing is fetched or renewed with its tokens any more. */
  forgetPod(podUid: string): void {
    for (const session of this.#sessions.values()) session.tokens.removePod(podUid);
  }

  /** Lets go of every session, and of every fetch that began before. */
  flush(chosen: (session: Session) => boolean): number {
    let flushed = 0;
    for (const session of [...this.#sessions.values()].filter(chosen)) {
      this.#end(session);
      flushed += 1;
    }
    return flushed;
  }

  /** Leaves renewals to another broker, or takes them up again; whoever asks is still served. */
  standBy(on: boolean): void {
    this.#renewals.standBy(on);
  }

  /** Renews nothing any more. */
  stop(): void {
    for (const session of this.#sessions.values()) session.rest(this.#options.clock);
  }

  #fetch(session: Session, live: LiveToken, how: FlightStart): Fetch {
    const { clock, sessionLog, flights } = this.#options;
    const flight = flights.start(session, live, how);
    const startedAt = clock.elapsed();
    const landed = flight.result.then((result) => {
      sessionLog?.landed(session, how.renewal, result, clock.elapsed() - startedAt);
      return this.#landed(session, flight, result);
    });
    session.fetch = { flight, landed };
    return session.fetch;
  }

  #landed(session: Session, flight: Flight, result: FlightResult): FetchOutcome {
    session.fetch = undefined;
    if (flight.renewal) this.#options.onRenewal(result);
    if (session.ended) return { ok: false, failure: SUPERSEDED, live: undefined };
    session.place = undefined;
    if (result.ok) {
      const { role, kept } = result;
      const credentials = servedCredentials(role, this.#retention, session.usage, kept);
      session.warm = false;
      session.lastFailure = undefined;
      session.fetchedBy = flight.trace?.context;
      session.refusals.clear();
      if (!result.fromStore) this.#renewals.granted(session);
      this.#hold(session, credentials);
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

  /** Keeps a place for as long as whoever waits for it may have been told to wait, and longer. */
  #keepPlace(session: Session, place: number): void {
    const { clock, flights } = this.#options;
    session.place = place;
    session.placeUntil = clock.elapsed() + flights.expectedWait + PLACE_KEPT;
  }

  /** Puts credentials into a session and makes room for it. */
  #hold(session: Session, credentials: ServedCredentials): void {
    const { clock, maxCacheSize, maxCredentialRetention } = this.#options;
    if (maxCacheSize === 0 || maxCredentialRetention === 0) {
      this.#end(session);
      return;
    }
    if (session.credentials === undefined) this.#cached += 1;
    session.credentials = credentials;
    this.#use(session);
    session.usedSinceFetch = false;
    this.#renewals.schedule(session, credentials.renewAt - clock.now());
    while (this.#cached > maxCacheSize) this.#evict();
  }

  #use(session: Session): void {
    this.#uses += 1;
    session.usedAt = this.#uses;
    session.usedSinceFetch = true;
  }

  #evict(): void {
    let oldest: Session | undefined;
    for (const session of this.#sessions.values()) {
      if (session.credentials === undefined) continue;
      if (oldest === undefined || session.usedAt < oldest.usedAt) oldest = session;
    }
    if (oldest === undefined) return;
    this.#options.onEviction();
    this.#end(oldest);
  }

  #end(session: Session): void {
    session.end(this.#options.clock);
    this.#renewals.ended(session);
    if (session.credentials !== undefined) this.#cached -= 1;
    session.credentials = undefined;
    if (this.#sessions.get(session.key) === session) this.#sessions.delete(session.key);
  }

  /** Refusals, and a place, are remembered with their session, which then goes. */
  #forgetWhenIdle(session: Session): void {
    const { clock } = this.#options;
    const until = Math.max(session.refusals.forgottenAt, session.placeUntil);
    const wait = until - clock.elapsed();
    if (wait <= 0) {
      this.#end(session);
      return;
    }
    session.wake(clock, wait, () => {
      if (session.fetch === undefined && session.credentials === undefined) {
        this.#forgetWhenIdle(session);
      }
    });
  }
}

/**
 * Whether the same token would draw the same answer for a while: a refusal, a token that is
 * spent, a call that EKS Auth takes to be wrong.
 */
function isRemembered({ kind }: FetchFailure): boolean {
  return kind === 'refused' || kind === 'token' || kind === 'request';
}
