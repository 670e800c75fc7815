import { AsyncLocalStorage } from 'node:async_hooks';
import type { DurationMs } from '../../src/clock.ts';
import type { RoleCredentials } from '../../src/eks-auth/assume-role.ts';
import type { AssumeRoleFailure } from '../../src/eks-auth/failure.ts';
import type { SessionStore } from '../../src/session-store/session-store.ts';
import { CallPace } from '../../src/sessions/call-pace.ts';
import { CallQueue } from '../../src/sessions/call-queue.ts';
import type { FetchFailure } from '../../src/sessions/failure.ts';
import type { Flight } from '../../src/sessions/flight.ts';
import { Flights } from '../../src/sessions/flights.ts';
import type { LiveToken } from '../../src/sessions/recent-tokens.ts';
import { RoleSessions, type SessionLookup } from '../../src/sessions/role-sessions.ts';
import type { FetchOutcome, Session } from '../../src/sessions/session.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import type { PodIdentity } from '../../src/tokens/claims.ts';
import type { AssumeRoleOutcome } from '../../src/workers/assume-role.ts';
import { ManualClock } from './manual-clock.ts';

export const AUDIENCE = 'pods.eks.amazonaws.com';
export const HOUR = 3_600_000;

/** A pod of `namespace/serviceAccount` with a token that lives a day. */
export function liveToken(
  clock: ManualClock,
  serviceAccount: string,
  pod: string,
  { token = `token of ${pod}`, expiresIn = 24 * HOUR, namespace = 'shop' } = {},
): LiveToken {
  const identity: PodIdentity = {
    namespace,
    serviceAccount,
    serviceAccountUid: `uid-of-${serviceAccount}`,
    pod,
    podUid: `uid-of-${pod}`,
    node: undefined,
    issuer: 'https://issuer.example',
    notBefore: clock.now(),
    expiresAt: clock.now() + expiresIn,
  };
  return { token, pod: identity };
}

/** A call that EKS Auth was asked for and has not answered yet. */
export interface PendingCall {
  readonly token: string;
  readonly at: number;
  /** The session that it is made for. */
  readonly session: Session;
  /** The fetch that it is part of. */
  readonly fetch: TracedFetch;
  /** Answers with credentials for the token's own service account. */
  grant(change?: Partial<RoleCredentials>): void;
  fail(failure: Partial<AssumeRoleFailure>): void;
}

/** A call without an answer for so long is taken to be lost, and may be made again. */
const LOST_AFTER: DurationMs = 6_000;

/**
 * Whether a call may be made beside an earlier one that has no answer yet: by the same fetch, if the
 * earlier one is taken to be lost, or was made with a token that has been rejected since.
 */
export function isRepetition(call: PendingCall, earlier: PendingCall): boolean {
  if (call.fetch !== earlier.fetch) return false;
  return call.token !== earlier.token || call.at >= earlier.at + LOST_AFTER;
}

/** A fetch of a session. */
export interface TracedFetch {
  readonly session: Session;
  ended: boolean;
}

/** Flights whose calls know which fetch they are made for: of a call, EKS Auth sees the token alone. */
class TracedFlights extends Flights {
  readonly #fetch = new AsyncLocalStorage<TracedFetch>();

  get fetch(): TracedFetch {
    const fetch = this.#fetch.getStore();
    if (fetch === undefined) throw new Error('a call that belongs to no flight');
    return fetch;
  }

  override start(session: Session, ...rest: TailOf<Flights['start']>): Flight {
    const fetch: TracedFetch = { session, ended: false };
    const flight = this.#fetch.run(fetch, () => super.start(session, ...rest));
    void flight.result.finally(() => {
      fetch.ended = true;
    });
    return flight;
  }
}

type TailOf<F> = F extends (first: never, ...rest: infer R) => unknown ? R : never;

/** Role sessions over an EKS Auth that answers when and how the test says. */
export class SessionsHarness {
  readonly clock = new ManualClock();
  readonly calls: PendingCall[] = [];
  readonly unanswered: PendingCall[] = [];
  readonly known = new Map<string, LiveToken>();
  readonly pace: CallPace;
  readonly queue: CallQueue;
  readonly sessions: RoleSessions;
  evictions = 0;
  unexpected = 0;
  renewals: boolean[] = [];
  lifetime = 6 * HOUR;
  /** Answers each call at once, where set. */
  auto: ((call: PendingCall) => void) | undefined;
  /** What calls wait for before they reach EKS Auth. */
  obstacle: FetchFailure | undefined;
  readonly #flights: TracedFlights;
  #serial = 0;

  constructor({
    maxCredentialRetention = 3 * HOUR,
    maxCacheSize = 2_000,
    flightTimeout = 30_000,
    renewalQps = 3,
    random = (): number => 0,
    isLivePod = undefined as ((podUid: string) => boolean) | undefined,
    store = undefined as SessionStore | undefined,
    /** What is between a flight and the simulated EKS Auth. */
    through = (token: string, call: (token: string) => Promise<AssumeRoleOutcome>) => call(token),
  } = {}) {
    const { clock } = this;
    this.pace = new CallPace(clock);
    this.queue = new CallQueue(clock, this.pace, renewalQps);
    const log = silentLog;
    this.#flights = new TracedFlights({
      clock,
      log,
      queue: this.queue,
      assumeRole: (token) => through(token, (sent) => this.#assumeRole(sent)),
      obstacle: () => this.obstacle,
      audience: AUDIENCE,
      flightTimeout,
      random,
      store,
      onCall: () => undefined,
      onUnexpected: () => {
        this.unexpected += 1;
      },
    });
    this.sessions = new RoleSessions({
      clock,
      log,
      flights: this.#flights,
      maxCredentialRetention,
      maxCacheSize,
      random,
      isLivePod,
      onRenewal: (result) => this.renewals.push(result.ok),
      onEviction: () => {
        this.evictions += 1;
      },
    });
  }

  /** A pod's token, known to the simulated EKS Auth. */
  pod(
    serviceAccount: string,
    pod: string,
    options: Parameters<typeof liveToken>[3] = {},
  ): LiveToken {
    const live = liveToken(this.clock, serviceAccount, pod, options);
    this.known.set(live.token, live);
    return live;
  }

  /** Opens the session of a pod's service account. */
  open(live: LiveToken): SessionLookup {
    return this.sessions.open(
      `service-account:${live.pod.namespace}/${live.pod.serviceAccount}`,
      'service-account',
      live,
      'foreground',
    );
  }

  /** Opens a session and waits for what its fetch brings. */
  async fetch(live: LiveToken): Promise<FetchOutcome> {
    const opened = this.open(live);
    if (opened.kind !== 'fetch') throw new Error(`nothing is fetched: ${opened.kind}`);
    return await opened.fetch.settled;
  }

  #assumeRole(token: string): Promise<AssumeRoleOutcome> {
    const { promise, resolve } = Promise.withResolvers<AssumeRoleOutcome>();
    const call: PendingCall = {
      token,
      at: this.clock.elapsed(),
      session: this.#flights.fetch.session,
      fetch: this.#flights.fetch,
      grant: (change = {}) => {
        this.#answered(call);
        resolve({ ok: true, role: { ...this.#role(token), ...change } });
      },
      fail: (failure) => {
        this.#answered(call);
        resolve({
          ok: false,
          failure: { kind: 'service', code: 'Code', message: 'message', ...failure },
        });
      },
    };
    this.calls.push(call);
    this.unanswered.push(call);
    this.auto?.(call);
    return promise;
  }

  #answered(call: PendingCall): void {
    this.unanswered.splice(this.unanswered.indexOf(call), 1);
  }

  #role(token: string): RoleCredentials {
    const live = this.known.get(token);
    if (live === undefined) throw new Error('a token that nobody was given');
    this.#serial += 1;
    const { namespace, serviceAccount, pod } = live.pod;
    return {
      accessKeyId: `ASIA${this.#serial}`,
      secretAccessKey: `made-up-${this.#serial}`,
      sessionToken: `made-up-session-${this.#serial}`,
      expiresAt: this.clock.now() + this.lifetime,
      subject: { namespace, serviceAccount },
      audience: AUDIENCE,
      associationArn: 'arn:aws:eks:us-east-1:111122223333:podidentityassociation/c/a-1',
      associationId: 'a-1',
      assumedRoleArn: `arn:aws:sts::111122223333:assumed-role/${serviceAccount}/eks-c-${pod}`,
      assumedRoleId: `AROA:eks-c-${pod}`,
      requestId: `request-${this.#serial}`,
    };
  }
}
