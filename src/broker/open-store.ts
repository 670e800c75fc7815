import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { RedisConfig } from '../config/redis-config.ts';
import type { RedisSessionStore } from '../session-store/redis-session-store.ts';
import type { RoleSessions } from '../sessions/role-sessions.ts';
import { sessionHolder } from '../sessions/stored-sessions.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import type { RepeatedFaults } from '../telemetry/repeated-faults.ts';

/** Input of {@link openStore}. */
export interface StoreOptions {
  readonly config: Config;
  readonly redis: RedisConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly faults: RepeatedFaults;
  /** The sessions in memory, which are created after the store. */
  readonly sessions: () => RoleSessions;
}

/**
 * Opens the session store. The Redis client is imported here, so that without Redis it costs neither
 * time nor memory.
 *
 * @throws Error naming a file that cannot be used.
 */
export async function openStore(options: StoreOptions): Promise<RedisSessionStore> {
  const { config, redis, clock, log, metrics, faults } = options;
  const { openRedisSessionStore } = await import('../session-store/redis-session-store.ts');
  const counts = metrics.redis;
  const holder = () => sessionHolder(options.sessions());
  return await openRedisSessionStore({
    clock,
    random: Math.random,
    config: redis,
    clusterName: config.clusterName,
    audience: config.tokenAudience,
    longestFetch: config.flightTimeout,
    maxSessions: config.maxCacheSize,
    holder: {
      restore: (session, kept) => holder().restore(session, kept),
      held: () => holder().held(),
      find: (key) => holder().find(key),
      renew: (key, fetchedAt) => holder().renew(key, fetchedAt),
      end: (key, fetchedAt) => holder().end(key, fetchedAt),
      flushBefore: (choice, version) => holder().flushBefore(choice, version),
    },
    onCommand: (command, result) => counts.commands.inc({ command, result }),
    onLoaded: (sessions, took) => {
      counts.entriesLoaded.inc(sessions);
      log.info({ sessions, durationMs: Math.round(took) }, 'sessions loaded from Redis');
    },
    onRejected: (reason) => {
      counts.entriesRejected.inc({ reason });
      // Flushed by an operator, or expired: no sign of tampering.
      if (reason === 'flushed' || reason === 'expired') return;
      faults.report(`redis entry ${reason}`, {
        level: 'warn',
        fields: { reason },
        message: 'an entry of Redis is not used, and deleted',
      });
    },
    onLease: (outcome) => counts.leases.inc({ outcome }),
    onDropped: () => counts.writesDropped.inc(),
  });
}
