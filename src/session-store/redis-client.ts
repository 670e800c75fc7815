import type { LookupFunction } from 'node:net';
import {
  Cluster,
  type ClusterOptions,
  type DNSLookupFunction,
  Redis,
  type RedisOptions,
} from 'ioredis';
import type { Clock, DurationMs } from '../clock.ts';
import type { RedisConfig } from '../config/redis-config.ts';
import { sentinelConnector, serverConnector } from './connectors.ts';
import { readContent, readSecretFile } from './key-file.ts';

/** A connection to Redis, or to the nodes of a Redis Cluster. */
export type RedisClient = Redis | Cluster;

const CONNECT_TIMEOUT: DurationMs = 2_000;
/** How long a connection may owe an answer before it is taken to be dead. */
const DEAD_AFTER: DurationMs = 5_000;
/** Between attempts to connect: the first pause, doubled up to the longest. */
const MIN_PAUSE: DurationMs = 100;
const MAX_PAUSE: DurationMs = 5_000;
/** A connection that has lasted so long, with the pause before it, was a good one. */
const GOOD_AFTER: DurationMs = 10_000;

/** Makes connections that have not begun to connect. */
export interface RedisClients {
  /** One to ask with. */
  commands(): RedisClient;
  /** One to listen with, to a single server even of a Redis Cluster. */
  subscriber(): Redis;
}

/** What {@link redisClients} depends on besides the configuration. */
export interface RedisClientOptions {
  readonly clock: Clock;
  /** A number from 0 to 1. */
  readonly random: () => number;
  /** Looks up the names of servers. */
  readonly lookup: LookupFunction;
}

/**
 * Reads the files that the configuration names. A command that cannot be sent at once fails at
 * once: nothing queues up in a connection.
 *
 * @throws Error that names the file that cannot be read.
 */
export async function redisClients(
  config: RedisConfig,
  { clock, random, lookup }: RedisClientOptions,
): Promise<RedisClients> {
  const { target } = config;
  const password = await secret(config.passwordFile, '--redis-password-file');
  const sentinelPassword = await secret(
    config.sentinelPasswordFile,
    '--redis-sentinel-password-file',
  );
  const ca =
    config.caFile === undefined ? undefined : await readContent(config.caFile, '--redis-ca-file');
  const tls = target.tls ? { ...(ca !== undefined && { ca }), lookup } : undefined;
  const pauses = () => reconnectPauses(clock, random);
  const each = {
    ...(config.username !== undefined && { username: config.username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls }),
    db: target.database,
    protocol: 2,
    connectTimeout: CONNECT_TIMEOUT,
    socketTimeout: DEAD_AFTER,
    keepAlive: 10_000,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // Its own subscribing anew has nobody to hear that it fails, which would end the process.
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    // A primary that has become a replica: whoever is asked next may know the new one.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
    connectionName: 'pod-identity-broker',
    disableClientInfo: true,
    lazyConnect: true,
  } satisfies RedisOptions;
  const toServers = () =>
    new Redis({
      ...each,
      retryStrategy: pauses(),
      Connector: serverConnector({ lookup, tls }, target.servers),
    });
  switch (target.kind) {
    case 'server':
      return { commands: toServers, subscriber: toServers };
    case 'cluster': {
      const options = {
        lazyConnect: true,
        enableOfflineQueue: false,
        clusterRetryStrategy: pauses(),
        slotsRefreshTimeout: CONNECT_TIMEOUT,
        slotsRefreshInterval: 10_000,
        // The connector looks names up; a certificate is for the name.
        dnsLookup: ((address, callback) => callback(null, address)) as DNSLookupFunction,
        redisOptions: { ...each, Connector: serverConnector({ lookup, tls }) },
      } satisfies ClusterOptions;
      // A subscription of a Cluster's own may end without a word when its node is lost.
      return {
        commands: () => new Cluster([...target.servers], options),
        subscriber: toServers,
      };
    }
    case 'sentinel': {
      const { sentinelUsername } = config;
      const bySentinels = () =>
        new Redis({
          ...each,
          sentinels: [...target.servers],
          name: target.primary,
          retryStrategy: pauses(),
          sentinelRetryStrategy: pauses(),
          failoverDetector: true,
          ...(sentinelUsername !== undefined && { sentinelUsername }),
          ...(sentinelPassword !== undefined && { sentinelPassword }),
          ...(tls && { enableTLSForSentinelMode: true, sentinelTLS: tls }),
          Connector: sentinelConnector({ lookup, tls }, pauses()),
        });
      return { commands: bySentinels, subscriber: bySentinels };
    }
  }
}

async function secret(file: string | undefined, flag: string): Promise<string | undefined> {
  return file === undefined ? undefined : await readSecretFile(file, flag);
}

/**
 * Tells how long to wait before each attempt to connect: ever longer while connections do not
 * last, though they may have been made each time; and spread, so that a fleet does not come back
 * in step.
 */
export function reconnectPauses(clock: Clock, random: () => number): () => DurationMs {
  let attempts = 0;
  let last: DurationMs = Number.NEGATIVE_INFINITY;
  return () => {
    const now = clock.elapsed();
    attempts = now - last > GOOD_AFTER ? 0 : attempts + 1;
    last = now;
    const longest = Math.min(MAX_PAUSE, MIN_PAUSE * 2 ** Math.min(10, attempts));
    return longest * (0.5 + random());
  };
}
