import type { LookupAddress } from 'node:dns';
import { connect, type LookupFunction, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import {
  AbstractConnector,
  type RedisOptions,
  type SentinelAddress,
  type SentinelConnectionOptions,
  SentinelConnector,
} from 'ioredis';
import type { DurationMs } from '../clock.ts';
import type { RedisServer } from '../config/redis-url.ts';
import { followed } from './conversation.ts';

/** How names are looked up, and the certificates to trust where there is TLS. */
export interface Way {
  readonly lookup: LookupFunction;
  readonly tls: ConnectionOptions | undefined;
}

const SERVER_PORT = 6379;
const SENTINEL_PORT = 26_379;
/** How long a sentinel's name may take to be looked up before the next is tried. */
const LOOKUP_TIMEOUT: DurationMs = 2_000;
/** How long a connection that is to end may take; the default of ioredis. */
const DISCONNECT_TIMEOUT: DurationMs = 2_000;

/**
 * What ioredis connects with: its own connector takes no way to look names up.
 *
 * @param servers - One after another, from attempt to attempt. Default is the host and port that
 *   the connection was made for, as those to the nodes of a Redis Cluster are.
 */
export function serverConnector({ lookup, tls }: Way, servers?: readonly RedisServer[]) {
  return class ServerConnector extends AbstractConnector {
    readonly #servers: readonly Partial<RedisServer>[];
    #attempts = 0;

    constructor(options: unknown) {
      super(DISCONNECT_TIMEOUT);
      const { host, port } = options as RedisOptions;
      this.#servers = servers ?? [{ ...(host && { host }), ...(port && { port }) }];
    }

    async connect(): Promise<Socket> {
      const { host = 'localhost', port = SERVER_PORT } = this.#servers[
        this.#attempts % this.#servers.length
      ] as Partial<RedisServer>;
      this.#attempts += 1;
      this.connecting = true;
      const to = { host, port, lookup };
      const stream = followed(tls === undefined ? connect(to) : connectTls({ ...to, ...tls }));
      this.stream = stream;
      stream.once('error', (error) => {
        this.firstError = error;
      });
      return stream;
    }
  };
}

/**
 * What ioredis asks sentinels with. Its own gives them no way to look names up either, so it is
 * given addresses; with TLS it needs the names, and takes the way with the rest of what TLS needs.
 *
 * @param pause - How long to wait before all are looked up again, by the number of the attempt.
 */
export function sentinelConnector(
  { lookup }: Pick<Way, 'lookup'>,
  pause: (attempt: number) => DurationMs,
) {
  return class LookedUpSentinelConnector extends AbstractConnector {
    readonly #options: SentinelConnectionOptions;
    #inner: SentinelConnector | undefined;

    constructor(options: unknown) {
      super(DISCONNECT_TIMEOUT);
      this.#options = options as SentinelConnectionOptions;
    }

    async connect(emit: (type: string, error: Error) => void): Promise<Socket> {
      this.connecting = true;
      for (let attempt = 1; this.connecting; attempt += 1) {
        const sentinels = await this.#lookUp(emit);
        if (!this.connecting) break;
        if (sentinels.length > 0) {
          // The primary may be known by name as well: what this returns is what is connected to.
          const natMap = (server: string) => {
            const colon = server.lastIndexOf(':');
            return { host: server.slice(0, colon), port: Number(server.slice(colon + 1)), lookup };
          };
          this.#inner = new SentinelConnector({ ...this.#options, sentinels, natMap });
          return followed((await this.#inner.connect(emit)) as Socket);
        }
        await new Promise((resolve) => setTimeout(resolve, pause(attempt)).unref());
      }
      throw new Error('Connection is closed.');
    }

    override check(info: unknown): boolean {
      return this.#inner?.check(info as never) ?? true;
    }

    override disconnect(): void {
      this.connecting = false;
      this.#inner?.disconnect();
    }

    async #lookUp(emit: (type: string, error: Error) => void): Promise<SentinelAddress[]> {
      const found: SentinelAddress[] = [];
      for (const { host = 'localhost', port = SENTINEL_PORT } of this.#options.sentinels ?? []) {
        try {
          for (const { address } of await addressesOf(host, lookup)) {
            found.push({ host: address, port });
          }
        } catch (error) {
          emit('error', error as Error);
        }
      }
      return found;
    }
  };
}

/** The connector of ioredis for sentinels that are asked over TLS. */
export class TlsSentinelConnector extends SentinelConnector {
  constructor(options: unknown) {
    super(options as SentinelConnectionOptions);
  }

  override async connect(emit: (type: string, error: Error) => void): Promise<Socket> {
    return followed((await super.connect(emit)) as Socket);
  }
}

/** No address was found in time. */
class LookupTimeoutError extends Error {
  override readonly name = 'LookupTimeoutError';
  readonly code = 'ERR_REDIS_LOOKUP_TIMEOUT';
}

function addressesOf(host: string, lookup: LookupFunction): Promise<LookupAddress[]> {
  const { promise, resolve, reject } = Promise.withResolvers<LookupAddress[]>();
  const timer = setTimeout(
    () => reject(new LookupTimeoutError(`${host} was not looked up in time`)),
    LOOKUP_TIMEOUT,
  ).unref();
  lookup(host, { all: true }, (error, addresses) => {
    if (error) reject(error);
    else resolve(addresses as LookupAddress[]);
  });
  return promise.finally(() => clearTimeout(timer));
}
