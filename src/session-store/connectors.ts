import type { LookupAddress } from 'node:dns';
import { connect, type LookupFunction, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import {
  AbstractConnector,
  type Redis,
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
 * @param pause - How long to wait before all are looked up again.
 */
export function sentinelConnector({ lookup, tls }: Way, pause: () => DurationMs) {
  return class LookedUpSentinelConnector extends AbstractConnector {
    readonly #options: SentinelConnectionOptions;
    #inner: SentinelConnector | undefined;

    constructor(options: unknown) {
      super(DISCONNECT_TIMEOUT);
      this.#options = options as SentinelConnectionOptions;
    }

    async connect(emit: (type: string, error: Error) => void): Promise<Socket> {
      this.connecting = true;
      while (this.connecting) {
        const sentinels =
          tls === undefined ? await this.#lookUp(emit) : (this.#options.sentinels ?? []);
        if (!this.connecting) break;
        if (sentinels.length > 0) {
          // It listens to sentinels for as long as nobody ends it.
          this.#inner?.disconnect();
          this.#inner = new SentinelConnector({ ...this.#options, sentinels, natMap });
          followSentinels(this.#inner, { lookup, tls });
          return followed((await this.#inner.connect(emit)) as Socket);
        }
        await new Promise((resolve) => setTimeout(resolve, pause()).unref());
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

  /**
   * Where a server is that a sentinel names, which may be by name as well. One that cannot be is
   * where nobody is: ioredis would give up for good at an address that is none.
   */
  function natMap(server: string) {
    const colon = server.lastIndexOf(':');
    const host = server.slice(0, colon);
    const port = Number(server.slice(colon + 1));
    const possible = Number.isInteger(port) && port > 0 && port < 65_536 && host !== '';
    return possible ? { host, port, lookup } : { host: NOWHERE, port: DISCARD_PORT };
  }
}

/** Reserved for documentation (RFC 5737), so that nothing of anybody's is there. */
const NOWHERE = '192.0.2.1';
const DISCARD_PORT = 9;

/** ioredis offers no way to have the connections to sentinels made by a connector of one's own. */
function followSentinels(connector: SentinelConnector, way: Way): void {
  const inside = connector as unknown as {
    connectToSentinel(endpoint: unknown, options?: object): Redis;
  };
  const connectTo = inside.connectToSentinel.bind(connector);
  inside.connectToSentinel = (endpoint, options) =>
    // It is asked for again, or another one is; ioredis would write of it to standard error.
    connectTo(endpoint, { ...options, Connector: serverConnector(way) }).on('error', () => {});
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
