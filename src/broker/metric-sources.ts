import type { DurationMs } from '../clock.ts';
import { SESSION_SCOPES } from '../config/config.ts';
import type { RoleSessions } from '../sessions/role-sessions.ts';
import type { MetricSources } from '../telemetry/metrics/metrics.ts';
import type { ScopeFigures, ServiceAccountFigures } from '../telemetry/metrics/session-metrics.ts';
import type { Components } from './components.ts';

/** The values that metrics read from the components. */
export function metricSources(components: Components): MetricSources {
  const { clock, sessions, queue, pace, keyRing, workers, credentials, listener, config } =
    components;
  return {
    version: components.version,
    logLinesDropped: components.logLinesDropped,
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
    verifiedTokens: () => components.identity.remembered,
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
      const state = components.store?.state;
      return (
        state && {
          circuit: state.circuit,
          writesWaiting: state.waiting,
          subscribed: state.announcements?.heard,
        }
      );
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
 * How long until the first session in use expires. Sessions that are not in use, or whose tokens
 * have all expired, are not renewed on purpose, and not counted.
 */
function soonestExpiry(sessions: RoleSessions, now: number): DurationMs | undefined {
  let soonest: number | undefined;
  for (const { credentials, usedSinceFetch, tokens } of sessions.all()) {
    if (credentials === undefined || !usedSinceFetch || tokens.live(now).length === 0) continue;
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
