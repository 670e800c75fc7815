import { createSecureContext } from 'node:tls';
import type { Dispatcher } from 'undici';
import type { DurationMs } from '../clock.ts';
import { type Environment, proxyFromEnvironment } from './proxy.ts';
import { Agent, Client, Pool, ProxyAgent } from './undici.ts';

/** Input of {@link createDispatcher}. */
export interface DispatcherOptions {
  /**
   * Where `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are read. Nothing is read from
   * `process.env`. Default is `{}`.
   */
  readonly env?: Environment | undefined;
  /** How long a connection may take, TLS included. Default is 1 s. */
  readonly connectTimeout?: DurationMs | undefined;
  /**
   * How long an idle connection is kept. Default is 10 s: long enough for bursts and retries,
   * shorter than the idle time-outs of load balancers and NAT gateways.
   */
  readonly keepAlive?: DurationMs | undefined;
  /** Connections to one origin at most; further requests queue. Default is 64. */
  readonly connections?: number | undefined;
  /** PEM certificates to trust instead of the system's roots. */
  readonly ca?: string | undefined;
  /** PEM certificate and key to present to servers that ask for one. Default is none. */
  readonly clientCertificate?: { readonly cert: string; readonly key: string } | undefined;
}

const DEFAULT_CONNECT_TIMEOUT: DurationMs = 1_000;
const DEFAULT_KEEP_ALIVE: DurationMs = 10_000;
const DEFAULT_CONNECTIONS = 64;

/**
 * A pool of keep-alive HTTP/1.1 connections for the calls that leave the node.
 *
 * Which origins go through a proxy says {@link proxyFromEnvironment}; undici's own
 * `EnvHttpProxyAgent` is not used because it knows no CIDR blocks (clusters exempt their service
 * range with one), sends loopback to the proxy, and applies `HTTP_PROXY` to `https:`.
 *
 * @throws ProxyUrlError naming the variable that cannot be used.
 */
export function createDispatcher(options: DispatcherOptions = {}): Dispatcher {
  const {
    env = {},
    connectTimeout = DEFAULT_CONNECT_TIMEOUT,
    keepAlive = DEFAULT_KEEP_ALIVE,
    connections = DEFAULT_CONNECTIONS,
    ca,
    clientCertificate,
  } = options;
  // One context for all connections: parsing a hundred roots anew for each would be felt.
  const secureContext =
    ca === undefined && clientCertificate === undefined
      ? undefined
      : createSecureContext({ ca, ...clientCertificate });
  const tls = {
    timeout: connectTimeout,
    allowH2: false,
    ...(secureContext && { secureContext }),
  };
  const pool = {
    connections,
    keepAliveTimeout: keepAlive,
    keepAliveMaxTimeout: keepAlive,
    allowH2: false,
    // One attempt has one deadline, and whoever makes the attempt keeps it.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  const proxyFor = proxyFromEnvironment(env);
  return new Agent({
    ...pool,
    connect: tls,
    factory: (origin, opts) => {
      const proxy = proxyFor(new URL(origin));
      if (!proxy) return connectionPool(origin, opts);
      return new ProxyAgent({
        ...pool,
        uri: proxy.href,
        requestTls: tls,
        proxyTls: tls,
        factory: connectionPool,
        // A proxy that accepts and then says nothing must not hold a place for ever.
        clientFactory: (url, client) =>
          new Pool(url, { ...client, headersTimeout: PROXY_HEADERS_TIMEOUT }),
      });
    },
  });
}

const PROXY_HEADERS_TIMEOUT: DurationMs = 10_000;

/**
 * Tells whether a request failed because the server had closed the kept connection that it
 * went out on: it was not answered for a reason that a new connection does not have.
 *
 * @param error - what a dispatcher of {@link createDispatcher} failed with.
 */
export function isStaleConnection(error: unknown): boolean {
  return typeof error === 'object' && error !== null && stale.has(error);
}

const stale = new WeakSet<object>();

function connectionPool(origin: string | URL, options: object): Dispatcher {
  return new Pool(origin, {
    ...options,
    factory: (url, opts) => new Connection(url, opts),
  });
}

/** One connection at a time, which knows whether the present one has answered before. */
class Connection extends Client {
  #answered = 0;

  constructor(url: URL, options: object) {
    super(url, options);
    this.on('connect', () => {
      this.#answered = 0;
    });
  }

  override dispatch(
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    let reused = false;
    let answered = false;
    return super.dispatch(options, {
      onRequestStart: (controller, context) => {
        reused = this.#answered > 0;
        handler.onRequestStart?.(controller, context);
      },
      onRequestUpgrade: (controller, status, headers, socket) => {
        handler.onRequestUpgrade?.(controller, status, headers, socket);
      },
      onResponseStart: (controller, status, headers, message) => {
        answered = true;
        this.#answered += 1;
        handler.onResponseStart?.(controller, status, headers, message);
      },
      onResponseData: (controller, chunk) => handler.onResponseData?.(controller, chunk),
      onResponseEnd: (controller, trailers) => handler.onResponseEnd?.(controller, trailers),
      onResponseError: (controller, error) => {
        if (reused && !answered && isDisconnect(error)) stale.add(error);
        handler.onResponseError?.(controller, error);
      },
    });
  }
}

const DISCONNECTS: ReadonlySet<unknown> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

function isDisconnect(error: Error): boolean {
  return 'code' in error && DISCONNECTS.has(error.code);
}
