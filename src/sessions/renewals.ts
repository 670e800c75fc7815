import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import type { SessionStore } from '../session-store/session-store.ts';
import type { Log } from '../telemetry/log.ts';
import { Denials } from './denials.ts';
import type { LiveToken } from './recent-tokens.ts';
import type { ServedCredentials } from './served-credentials.ts';
import type { Session } from './session.ts';

/** Sessions with less left than this are renewed before all else. */
const URGENT: DurationMs = 20 * 60_000;
/** What that is of the life of a session that lives for less than an hour. */
const URGENT_PART = 1 / 3;
/** The pause after a renewal that failed with all its attempts. */
const PAUSE: DurationMs = 30_000;
const URGENT_PAUSE: DurationMs = 5_000;
/** Pods remembered of a session, over all credentials that it has held. */
const MAX_PODS = 10_000;

/** What {@link Renewals} is made from. */
export interface RenewalsOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** A number from 0 to 1. */
  readonly random: () => number;
  /** Hears of sessions that end everywhere. Default is nobody. */
  readonly store?: Pick<SessionStore, 'revoke'> | undefined;
  /** Whether a pod is known to be on the node and alive. Default is that none is known to be. */
  readonly isLivePod?: ((podUid: string) => boolean) | undefined;
  /** Starts a fetch that renews a session; `rank` is its place among renewals. */
  readonly fetch: (
    session: Session,
    live: LiveToken,
    priority: 'urgent' | 'renewal',
    rank: number,
  ) => void;
  /** Ends a session. */
  readonly end: (session: Session) => void;
  /** Sessions that hold credentials. */
  readonly held: () => number;
}

/** When sessions are renewed, with which token, and what becomes of one that cannot be. */
export class Renewals {
  readonly #options: RenewalsOptions;
  readonly #denials = new Denials();
  #standingBy = false;

  constructor(options: RenewalsOptions) {
    this.#options = options;
  }

  /** EKS Auth denies the renewal of every session. */
  get nodeDenied(): boolean {
    return this.#denials.alarmed;
  }

  /** Leaves renewals to another broker, or takes them up again. */
  standBy(on: boolean): void {
    this.#standingBy = on;
  }

  /** Renews a session that is due, with the token of whoever asks when nothing better is known. */
  ifDue(session: Session, live: LiveToken, now: EpochMs): void {
    if (now < session.renewAt || session.fetch !== undefined) return;
    session.tokens.add(live);
    this.#renew(session);
  }

  /** Renews a session after a while, if it is wanted by then; before that nobody renews it. */
  schedule(session: Session, delay: DurationMs): void {
    const { clock } = this.#options;
    session.renewAt = clock.now() + Math.max(0, delay);
    session.wake(clock, delay, () => {
      if (this.#isWanted(session)) this.#renew(session);
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

  /** A renewal has failed for reasons that have nothing to do with the session. */
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

  /** EKS Auth refuses to renew a session with this token. */
  refused(session: Session, refused: LiveToken): void {
    const { clock, log, held, store } = this.#options;
    const { namespace, serviceAccount, lastFailure } = session;
    // A refusal of one pod must not cost its neighbours the session: theirs are tried first.
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
        // The node's trouble, as far as can be told: the pods keep what they have.
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
    // Without a live token it waits for the next pod that asks with one.
    if (session.tokens.size === 0) return;
    const elapsed = clock.elapsed();
    session.usedSinceFetch = true;
    this.schedule(session, session.refusals.lapseAt(elapsed) - elapsed);
  }

  /** The token to renew with: one that was not refused lately, if there is one. */
  #tokenFor({ tokens, refusals }: Session): LiveToken | undefined {
    const { clock } = this.#options;
    const elapsed = clock.elapsed();
    const live = tokens.live(clock.now());
    return (
      live.find(({ token }) => !refusals.has(token, elapsed)) ??
      live.find(({ token }) => refusals.standing(token, elapsed) === undefined)
    );
  }

  /** Somebody has asked since the last fetch, or a pod that was handed it is still there. */
  #isWanted(session: Session): boolean {
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

  /** Unless it is renewed until then, a session ends when its credentials do. */
  #endWithCredentials(session: Session): void {
    const { clock, end } = this.#options;
    const left = (session.credentials as ServedCredentials).servableUntil - clock.now();
    session.wake(clock, left, () => {
      if (session.fetch === undefined) end(session);
    });
  }
}
