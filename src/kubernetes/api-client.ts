import type { DurationMs } from '../clock.ts';
import { Connections } from '../http/connections.ts';
import { type ExchangeResponse, exchange } from '../http/exchange.ts';
import { headersOf, target } from '../http/get-request.ts';
import type { ApiServerAccess } from './access.ts';

/** Connections to the API server: a watch, and a few requests beside it. */
const CONNECTIONS = 16;
const CONNECT_TIMEOUT: DurationMs = 2_000;
const JSON_TYPE = 'application/json';

/** Bounds of one request. */
export interface RequestLimits {
  readonly timeout: DurationMs;
  /** Bytes of the answer's body. */
  readonly maxBytes: number;
  /** Ends the request early. */
  readonly signal?: AbortSignal | undefined;
}

/** An answer that is read as it comes in. */
export interface StreamedAnswer {
  readonly status: number;
  readonly body: AsyncIterable<Buffer>;
}

/**
 * Requests to the API server from the main thread. The credentials are read anew for each, and
 * connections are made anew when the CA or the client certificate has changed.
 */
export class ApiClient {
  readonly #access: ApiServerAccess;
  readonly #connections: Connections;

  /** @param environment - The proxy variables that calls follow. */
  constructor(access: ApiServerAccess, environment: Readonly<Record<string, string>>) {
    this.#access = access;
    this.#connections = new Connections({
      env: environment,
      connectTimeout: CONNECT_TIMEOUT,
      connections: CONNECTIONS,
    });
  }

  /** @throws What the access or {@link exchange} fails with. */
  async get(path: string, limits: RequestLimits): Promise<ExchangeResponse> {
    const request = await this.#access.request(path);
    return await exchange(
      this.#connections.to(request),
      { ...target(request.url), method: 'GET', headers: headersOf(request, JSON_TYPE) },
      limits,
    );
  }

  /**
   * Changes an object by a JSON patch (RFC 6902).
   *
   * @throws What the access or {@link exchange} fails with.
   */
  async patch(path: string, patch: unknown, limits: RequestLimits): Promise<ExchangeResponse> {
    const request = await this.#access.request(path);
    return await exchange(
      this.#connections.to(request),
      {
        ...target(request.url),
        method: 'PATCH',
        headers: {
          ...headersOf(request, JSON_TYPE),
          'content-type': 'application/json-patch+json',
        },
        body: JSON.stringify(patch),
      },
      limits,
    );
  }

  /**
   * A GET whose answer is read as it comes in; it lasts until its end or `signal`.
   *
   * @throws What the access or undici fails with, the body's iteration too.
   */
  async stream(path: string, signal: AbortSignal): Promise<StreamedAnswer> {
    const request = await this.#access.request(path);
    const { statusCode, body } = await this.#connections.to(request).request({
      ...target(request.url),
      method: 'GET',
      headers: headersOf(request, JSON_TYPE),
      signal,
    });
    return { status: statusCode, body };
  }

  /** Drops all connections. */
  async close(): Promise<void> {
    await this.#connections.close();
  }
}
