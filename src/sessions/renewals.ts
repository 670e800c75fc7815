import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import type { SessionStore } from '../session-store/session-store.ts';
import type { Log } from '../telemetry/log.ts';
import { Denials } from './denials.ts';
import type { LiveToken } from './recent-tokens.ts';
import type { ServedCredentials } from './served-credentials.ts';
import type { Session } from './session.ts';

/** Sessions that expire sooner than this are renewed before everything else. */
const URGENT: DurationMs = 20 * 60_000;
/** The same as a fraction of the lifetime, for sessions that live for less than an hour. */
const URGENT_PART = 1 / 3;
/** The pause after a failed renewal. */
const PAUSE: DurationMs = 30_000;
/** The same for urgent ones. */
const URGENT_PAUSE: DurationMs = 5_000;
/** Pods remembered per session, over all credentials that it has held. */
const MAX_PODS = 10_000;

/** What {@link Renewals} is made from. */
export interface RenewalsOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Returns a number from 0 to 1. */
  readonly random: () => number;
  /** Is told which sessions are to end on all nodes. Default: none. */
  readonly store?: Pick<SessionStore, 'revoke'> | undefined;
  /** Whether a pod is known to be alive on the node. Default: no pod is. */
  readonly isLivePod?: ((podUid: string) => boolean) | undefined;
  /** Starts a fetch that renews a session; `rank` is its rank in the queue. */
  readonly fetch: (
    session: Session,
    live: LiveToken,
    priority: 'urgent' | 'renewal',
    rank: number,
  ) => void;
  /** Ends a session. */
  readonly end: (session: Session) => void;
  /** How many sessions hold credentials. */
  readonly held: () => number;
}

/** Decides when sessions are renewed, with which token, and what happens if that fails. */
export class Renewals {
  readonly #options: RenewalsOptions;
  readonly #denials = new Denials();
  #standingBy = false;

  constructor(options: RenewalsOptions) {
    this.#options = options;
  }

  /** EKS Auth denies the renewal of every session of this node. */
  get nodeDenied(): boolean {
    return this.#denials.alarmed;
  }

  /** Leaves renewals to another broker (`true`), or resumes them (`false`). */
  standBy(on: boolean): void {
    this.#standingBy = on;
  }

  /** Renews a session if it is due. `live` is the request's token, used if there is no better one. */
  renewIfDue(session: Session, live: LiveToken, now: EpochMs): void {
    if (now < session.renewAt || session.fetch !== undefined) return;
    session.tokens.add(live);
    this.#renew(session);
  }

  /** Renews a session after `delay` if it is in use then. It is not renewed before. */
  schedule(session: Session, delay: DurationMs): void {
    const { clock } = this.#options;
    session.renewAt = clock.now() + Math.max(0, delay);
    session.setTimer(clock, delay, () => {
      if (this.#isInUse(session)) this.#renew(session);
      else this.#endWithCredentials(session);
    });
  }

  /** EKS Auth has granted a session. */
  granted(session: Session): void {
    this.#denials.granted(session.key, this.#options.clock.elapsed());
  }

  /** A session has ended. */
  ended(session: Session): void {
    this.#denials.forget(session.key);
  }

  /** A renewal has failed for a reason that does not concern the session itself. */
  failed(session: Session): void {
    const { clock, random } = this.#options;
    const left = (session.credentials as ServedCredentials).servableUntil - clock.now();
    if (left <= 0) {
      this.#options.end(session);
      return;
    }
    const pause = this.#isUrgent(session) ? URGENT_PAUSE : PAUSE;
    session.usedSinceFetch = true;
    this.schedule(session, Math.min(left, pause * (1 + random())));
  }

  /** EKS Auth refuses to renew a session with this token: tries another, or ends the session. */
  refused(session: Session, refused: LiveToken): void {
    const { clock, log, held, store } = this.#options;
    const { namespace, serviceAccount, lastFailure } = session;
    // Other pods must not lose the session because one was refused: their tokens come first.
    session.tokens.remove(refused.token);
    if (session.tokens.live(clock.now()).length > 0) {
      session.usedSinceFetch = true;
      this.schedule(session, session.refusals.nextTryAt - clock.elapsed());
      return;
    }
    if (lastFailure?.code === 'AccessDeniedException') {
      const denied = this.#denials.denied(session.key, held() - 1, clock.elapsed());
      if (denied === 'alarm') {
        log.error(
          { code: lastFailure.code, reason: lastFailure.message },
          "EKS Auth denies every session: has the node's role lost eks-auth:AssumeRoleForPodIdentity?",
        );
      }
      if (denied !== 'own') {
        // The node is denied, as far as can be told: pods keep their credentials.
        session.tokens.add(refused);
        this.failed(session);
        return;
      }
    }
    log.info(
      { namespace, serviceAccount, code: lastFailure?.code, reason: lastFailure?.message },
      'session ended: EKS Auth refuses to renew it',
    );
    const kept = session.credentials?.kept;
    const by = lastFailure?.code === 'AccessDeniedException' ? 'denied' : 'refused';
    if (kept !== undefined && session.proven) store?.revoke(session, kept, by);
    this.#options.end(session);
  }

  #renew(session: Session): void {
    const { clock, fetch } = this.#options;
    const { credentials } = session;
    if (credentials === undefined || session.fetch !== undefined) return;
    this.#endWithCredentials(session);
    if (this.#standingBy) return;
    const live = this.#tokenFor(session);
    if (live !== undefined) {
      const priority = this.#isUrgent(session) ? 'urgent' : 'renewal';
      fetch(session, live, priority, credentials.expiresAt);
      return;
    }
    // Without a valid token the session waits for the next request.
    if (session.tokens.size === 0) return;
    const elapsed = clock.elapsed();
    session.usedSinceFetch = true;
    this.schedule(session, session.refusals.nextExpiry(elapsed) - elapsed);
  }

  /** The token to renew with; preferably one that was not refused recently. */
  #tokenFor({ tokens, refusals }: Session): LiveToken | undefined {
    const { clock } = this.#options;
    const elapsed = clock.elapsed();
    const live = tokens.live(clock.now());
    return (
      live.find(({ token }) => !refusals.isRecent(token, elapsed)) ??
      live.find(({ token }) => refusals.active(token, elapsed) === undefined)
    );
  }

  /** Whether a request has come since the last fetch, or a pod that was given it is still alive. */
  #isInUse(session: Session): boolean {
    const { isLivePod = () => false } = this.#options;
    const { pods, credentials } = session;
    for (const pod of credentials?.handedTo.keys() ?? []) {
      if (pods.size < MAX_PODS) pods.add(pod);
    }
    for (const pod of pods) if (!isLivePod(pod)) pods.delete(pod);
    return session.usedSinceFetch || pods.size > 0;
  }

  #isUrgent({ credentials }: Session): boolean {
    const { expiresAt, fetchedAt } = credentials as ServedCredentials;
    const urgent = Math.min(URGENT, (expiresAt - fetchedAt) * URGENT_PART);
    return expiresAt - this.#options.clock.now() < urgent;
  }

  /** Ends the session when its credentials expire, unless it is renewed before. */
  #endWithCredentials(session: Session): void {
    const { clock, end } = this.#options;
    const left = (session.credentials as ServedCredentials).servableUntil - clock.now();
    session.setTimer(clock, left, () => {
      if (session.fetch === undefined) end(session);
    });
  }
}
