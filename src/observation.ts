import type { DurationMs, ServiceClock } from './clock.ts';
import type { Config } from './config/config.ts';
import { SESSION_SCOPES } from './config/config.ts';
import type { NodeCredentialsKeeper } from './eks-auth/node-credentials.ts';
import type { Identity } from './identity/identity.ts';
import type { KeyRing } from './identity/key-ring.ts';
import type { Listener } from './listener/listener.ts';
import type { CallPace } from './sessions/call-pace.ts';
import type { CallQueue } from './sessions/call-queue.ts';
import type { RoleSessions } from './sessions/role-sessions.ts';
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
