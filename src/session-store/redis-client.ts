import { readFile } from 'node:fs/promises';
import {
  Cluster,
  type ClusterOptions,
  type DNSLookupFunction,
  Redis,
  type RedisOptions,
} from 'ioredis';
import type { DurationMs } from '../clock.ts';
import type { RedisConfig } from '../config/redis-config.ts';
import { readSecretFile } from './key-file.ts';

/** A connection to Redis, or to the nodes of a Redis Cluster. */
export type RedisClient = Redis | Cluster;

const CONNECT_TIMEOUT: DurationMs = 2_000;
/** How long a connection may owe an answer before it is taken to be dead. */
const DEAD_AFTER: DurationMs = 5_000;
/** Between attempts to connect: the first pause, doubled up to the longest. */
const FIRST_PAUSE: DurationMs = 100;
const LONGEST_PAUSE: DurationMs = 5_000;

/**
 * Reads the files that the configuration names, and makes connections that have not begun to
 * connect. A command that cannot be sent at once fails at once: nothing queues up in here.
 *
 * @returns Makes one connection each time it is called.
 * @throws Error that names the file that cannot be read.
 */
export async function redisClients(config: RedisConfig): Promise<() => RedisClient> {
  const { target, username, passwordFile, caFile } = config;
  const password = passwordFile === undefined ? undefined : await readSecretFile(passwordFile);
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8');
  const [first] = target.servers;
  const tls = target.tls ? { ...(ca !== undefined && { ca }) } : undefined;
  const each = {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls }),
    db: target.database,
    protocol: 2,
    connectTimeout: CONNECT_TIMEOUT,
    socketTimeout: DEAD_AFTER,
    keepAlive: 10_000,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // A primary that has become a replica: whoever is asked next may know the new one.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
    connectionName: 'pod-identity-broker',
    disableClientInfo: true,
  } satisfies RedisOptions;
  if (target.kind === 'cluster') {
    const options = {
      lazyConnect: true,
      enableOfflineQueue: false,
      clusterRetryStrategy: retryStrategy,
      slotsRefreshTimeout: CONNECT_TIMEOUT,
      slotsRefreshInterval: 10_000,
      // A certificate is for the name that a node announces, so that is not looked up.
      ...(tls && {
        dnsLookup: ((address, callback) => callback(null, address)) as DNSLookupFunction,
      }),
      redisOptions: each,
    } satisfies ClusterOptions;
    return () => new Cluster([...target.servers], options);
  }
  const where =
    target.kind === 'sentinel'
      ? {
          sentinels: [...target.servers],
          name: target.primary,
          sentinelRetryStrategy: retryStrategy,
          failoverDetector: true,
          ...(tls && { enableTLSForSentinelMode: true, sentinelTLS: tls }),
        }
      : first;
  return () => new Redis({ ...each, ...where, retryStrategy, lazyConnect: true });
}

/** Spread, so that a fleet does not come back in step. */
function retryStrategy(times: number): DurationMs {
  const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(10, times - 1));
  return pause * (0.5 + Math.random());
}
