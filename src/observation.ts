import type { DurationMs, ServiceClock } from './clock.ts';
import type { Config } from './config/config.ts';
import { type PodWatchMode, SESSION_SCOPES } from './config/config.ts';
import type { RedisSharing } from './config/redis-config.ts';
import type { NodeCredentialsKeeper } from './eks-auth/node-credentials.ts';
import type { Identity } from './identity/identity.ts';
import type { KeyRing } from './identity/key-ring.ts';
import type { Listener } from './listener/listener.ts';
import type { PodAwareness } from './pod-awareness.ts';
import type { CircuitState } from './session-store/circuit.ts';
import type { RedisSessionStore } from './session-store/redis-session-store.ts';
import type { CallPace } from './sessions/call-pace.ts';
import type { CallQueue } from './sessions/call-queue.ts';
import type { Explanation } from './sessions/explanation.ts';
import type { RoleSessions } from './sessions/role-sessions.ts';
import { type SessionStatus, sessionStatus } from './sessions/session-status.ts';
import type { MetricSources, ScopeFigures, ServiceAccountFigures } from './telemetry/metrics.ts';
import type { WorkerPool } from './workers/pool.ts';

/** The rooms that the operator can look into. */
export interface Rooms {
  readonly clock: ServiceClock;
  readonly config: Config;
  readonly version: string;
  readonly sessions: RoleSessions;
  readonly queue: CallQueue;
  readonly pace: CallPace;
  readonly identity: Identity;
  readonly keyRing: KeyRing;
  readonly workers: WorkerPool;
  readonly credentials: NodeCredentialsKeeper;
  readonly listener: Listener;
  /** Undefined: sessions are held in memory only. */
  readonly store: RedisSessionStore | undefined;
  /** Undefined: pods are not watched. */
  readonly pods: PodAwareness | undefined;
}

/** What the metrics read off the rooms. */
export function metricSources(rooms: Rooms): MetricSources {
  const { clock, sessions, queue, pace, keyRing, workers, credentials, listener, config } = rooms;
  return {
    version: rooms.version,
    scopes: () => scopeFigures(sessions),
    soonestExpiry: () => soonestExpiry(sessions, clock.now()),
    nodeDenied: () => sessions.nodeDenied,
    serviceAccounts: config.metricsServiceAccounts ? () => serviceAccounts(sessions) : undefined,
    waitingCalls: () => ({ ...queue.waitingByPriority() }),
    callsUnderWay: () => queue.underWay,
    paceMode: () => pace.mode,
    paceRate: () => pace.rate,
    workerUtilization: () => workers.utilization,
    workerTasksWaiting: () => workers.waiting,
    verifiedTokens: () => rooms.identity.remembered,
    verifiedTokensCapacity: config.maxVerifiedTokens,
    clockSkew: () => clock.skew,
    keysUsable: () => keyRing.keys !== undefined,
    keysProven: () => keyRing.proven,
    keysUnconfirmedFor: () => {
      const { confirmedAt } = keyRing;
      return confirmedAt === undefined ? undefined : clock.now() - confirmedAt;
    },
    nodeCredentialsUsable: () => credentials.current !== undefined,
    nodeCredentialsLeft: () => {
      const expiresAt = credentials.current?.expiresAt;
      return expiresAt === undefined ? undefined : expiresAt - clock.now();
    },
    addressesExpected: () => listener.addressesExpected,
    addressesBound: () => listener.addressesBound,
    connections: () => listener.connections,
    redis: () => {
      const state = rooms.store?.state;
      return state && { circuit: state.circuit, writesWaiting: state.waiting };
    },
  };
}

function scopeFigures(sessions: RoleSessions): ScopeFigures[] {
  const figures = new Map(SESSION_SCOPES.map((scope) => [scope, { scope, sessions: 0, pods: 0 }]));
  for (const { scope, credentials } of sessions.all()) {
    const found = figures.get(scope);
    if (credentials === undefined || found === undefined) continue;
    found.sessions += 1;
    found.pods += credentials.handedTo.size;
  }
  return [...figures.values()];
}

/**
 * How long the first session is good that pods still ask for. One that nobody wants, or whose
 * tokens have all expired, is let go of on purpose and not counted.
 */
function soonestExpiry(sessions: RoleSessions, now: number): DurationMs | undefined {
  let soonest: number | undefined;
  for (const { credentials, wanted, tokens } of sessions.all()) {
    if (credentials === undefined || !wanted || tokens.live(now).length === 0) continue;
    soonest = Math.min(soonest ?? Number.POSITIVE_INFINITY, credentials.servableUntil - now);
  }
  return soonest;
}

function serviceAccounts(sessions: RoleSessions): ServiceAccountFigures[] {
  const figures = new Map<string, ServiceAccountFigures>();
  for (const { namespace, serviceAccount, credentials, usage } of sessions.all()) {
    if (credentials === undefined) continue;
    const name = `${namespace}/${serviceAccount}`;
    const before = figures.get(name);
    figures.set(name, {
      namespace,
      serviceAccount,
      sessions: (before?.sessions ?? 0) + 1,
      served: (before?.served ?? 0) + usage.served,
    });
  }
  return [...figures.values()];
}

/** What `status` shows. */
export interface BrokerStatus {
  readonly version: string;
  readonly clusterName: string;
  /** The broker's time, by which its dates are meant. */
  readonly now: string;
  readonly sessions: readonly SessionStatus[];
  readonly calls: {
    readonly waiting: number;
    readonly underWay: number;
    readonly pace: 'free' | 'throttled' | 'troubled';
    /** Calls a second; null without a bound. */
    readonly rate: number | null;
  };
  readonly keys: {
    readonly issuer: string | null;
    readonly usable: boolean;
    readonly proven: boolean;
  };
  readonly nodeCredentials: { readonly usable: boolean; readonly failure: string | null };
  readonly addresses: { readonly expected: number; readonly bound: number };
  /** null: sessions are held in memory only. */
  readonly redis: {
    readonly sharing: RedisSharing;
    readonly circuit: CircuitState;
    /** Why the circuit is open; null while it is not. */
    readonly reason: string | null;
    readonly writesWaiting: number;
  } | null;
  /** Null: pods are not watched. */
  readonly pods: {
    readonly mode: PodWatchMode;
    readonly known: number;
    readonly connected: boolean;
  } | null;
}

/** How the broker is doing, without tokens and secrets. */
export function brokerStatus(rooms: Rooms): BrokerStatus {
  const { clock, config, sessions, queue, pace, keyRing, credentials, listener, pods } = rooms;
  const now = clock.now();
  const { rate } = pace;
  return {
    version: rooms.version,
    clusterName: config.clusterName,
    now: new Date(now).toISOString(),
    sessions: [...sessions.all()].map((session) => sessionStatus(session, now)),
    calls: {
      waiting: queue.waiting,
      underWay: queue.underWay,
      pace: pace.mode,
      rate: Number.isFinite(rate) ? rate : null,
    },
    keys: {
      issuer: keyRing.issuer ?? null,
      usable: keyRing.keys !== undefined,
      proven: keyRing.proven,
    },
    nodeCredentials: {
      usable: credentials.current !== undefined,
      failure: credentials.failure?.message ?? null,
    },
    addresses: { expected: listener.addressesExpected, bound: listener.addressesBound },
    redis: redisStatus(rooms),
    pods:
      pods === undefined
        ? null
        : { mode: config.watchPods, known: pods.known, connected: pods.connected },
  };
}

function redisStatus({ store, config }: Rooms): BrokerStatus['redis'] {
  if (store === undefined || config.redis === undefined) return null;
  const { circuit, reason, waiting } = store.state;
  return {
    sharing: config.redis.sharing,
    circuit,
    reason: circuit === 'closed' ? null : reason,
    writesWaiting: waiting,
  };
}

/** What the broker would do with a token, and why. */
export async function explain(token: string, rooms: Rooms): Promise<Explanation> {
  // Loads what decodes tokens, which the main thread has no other use for.
  const { explainToken } = await import('./sessions/explanation.ts');
  const { clock, config, identity, keyRing, sessions, pods } = rooms;
  return await explainToken(token, {
    clock,
    identity,
    keyRing,
    sessions,
    scopeRules: config,
    expected: { audience: config.tokenAudience, nodeName: config.nodeName },
    podGate: pods?.gate,
  });
}
