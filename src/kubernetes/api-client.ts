import { createHash } from 'node:crypto';
import type { Dispatcher } from 'undici';
import type { DurationMs } from '../clock.ts';
import { createDispatcher } from '../eks-auth/dispatcher.ts';
import { type ExchangeResponse, exchange } from '../eks-auth/exchange.ts';
import type { FetchDocumentTask } from '../workers/fetch-document.ts';
import type { ApiServerAccess } from './access.ts';

/** Connections to the API server: a watch, and a few requests beside it. */
const CONNECTIONS = 16;
const CONNECT_TIMEOUT: DurationMs = 2_000;

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
  readonly #environment: Readonly<Record<string, string>>;
  #connected: { readonly digest: string; readonly dispatcher: Dispatcher } | undefined;

  /** @param environment - The proxy variables that calls follow. */
  constructor(access: ApiServerAccess, environment: Readonly<Record<string, string>>) {
    this.#access = access;
    this.#environment = environment;
  }

  /** @throws What the access or {@link exchange} fails with. */
  async get(path: string, limits: RequestLimits): Promise<ExchangeResponse> {
    const request = await this.#access.request(path);
    return await exchange(
      this.#dispatcher(request),
      { ...target(request), method: 'GET', headers: headers(request) },
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
      this.#dispatcher(request),
      {
        ...target(request),
        method: 'PATCH',
        headers: { ...headers(request), 'content-type': 'application/json-patch+json' },
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
    const { statusCode, body } = await this.#dispatcher(request).request({
      ...target(request),
      method: 'GET',
      headers: headers(request),
      signal,
    });
    return { status: statusCode, body };
  }

  /** Drops all connections. */
  async close(): Promise<void> {
    await this.#connected?.dispatcher.destroy();
    this.#connected = undefined;
  }

  #dispatcher({ ca, clientCertificate }: FetchDocumentTask): Dispatcher {
    const digest = createHash('sha256')
      .update(JSON.stringify([ca, clientCertificate]))
      .digest('hex');
    if (this.#connected?.digest !== digest) {
      void this.#connected?.dispatcher.close();
      const dispatcher = createDispatcher({
        env: this.#environment,
        connectTimeout: CONNECT_TIMEOUT,
        connections: CONNECTIONS,
        ca,
        clientCertificate,
      });
      this.#connected = { digest, dispatcher };
    }
    return this.#connected.dispatcher;
  }
}

function target({ url }: FetchDocumentTask): { origin: string; path: string } {
  const { origin, pathname, search } = new URL(url);
  return { origin, path: pathname + search };
}

function headers({ bearer }: FetchDocumentTask): Record<string, string> {
  const sent: Record<string, string> = { accept: 'application/json' };
  if (bearer !== undefined) sent.authorization = `Bearer ${bearer}`;
  return sent;
}
