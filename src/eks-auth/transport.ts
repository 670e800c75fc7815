import {
  buildQueryString,
  type HttpHandler,
  type HttpRequest,
  HttpResponse,
} from '@smithy/core/protocols';
import type { HttpHandlerOptions } from '@smithy/types';
import type { Dispatcher } from 'undici';
import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import { exchange } from '../http/exchange.ts';

/** Input of {@link UndiciTransport}. */
export interface TransportOptions {
  /** Sends the requests; it is not closed with the transport. */
  readonly dispatcher: Dispatcher;
  /** Time-out of one attempt, up to the last byte of the response. Default: 10 s. */
  readonly attemptTimeout?: DurationMs | undefined;
  /** Most bytes of a response body. Default: 64 KiB; a real one has about 2 KiB. */
  readonly maxResponseBytes?: number | undefined;
  /** Default is the real time. */
  readonly clock?: Clock | undefined;
}

/** Options of one request, as `client.send` passes them on. */
export interface RequestOptions extends HttpHandlerOptions {
  /** Called with the `Date` of the response, which is in whole seconds. Default: none. */
  readonly onDate?: ((date: EpochMs) => void) | undefined;
}

const DEFAULT_ATTEMPT_TIMEOUT: DurationMs = 10_000;
const DEFAULT_MAX_RESPONSE_BYTES = 65_536;

/** The SDK's request handler interface over undici. Responses are read in full, up to a limit. */
export class UndiciTransport implements HttpHandler<TransportOptions> {
  readonly metadata = { handlerProtocol: 'http/1.1' };
  #options: TransportOptions;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  async handle(
    request: HttpRequest,
    { abortSignal, onDate }: RequestOptions = {},
  ): Promise<{ response: HttpResponse }> {
    const {
      dispatcher,
      attemptTimeout = DEFAULT_ATTEMPT_TIMEOUT,
      maxResponseBytes = DEFAULT_MAX_RESPONSE_BYTES,
      clock,
    } = this.#options;
    const query = buildQueryString(request.query);
    const { status, headers, body } = await exchange(
      dispatcher,
      {
        origin: `${request.protocol}//${request.hostname}${request.port ? `:${request.port}` : ''}`,
        path: query ? `${request.path}?${query}` : request.path,
        method: request.method,
        headers: request.headers,
        body: request.body,
      },
      {
        timeout: attemptTimeout,
        maxBytes: maxResponseBytes,
        // The SDK's own, older type of signal has no `throwIfAborted`.
        signal: abortSignal as AbortSignal | undefined,
        clock,
      },
    );
    const date = Date.parse(headers.date ?? '');
    if (!Number.isNaN(date)) onDate?.(date);
    return { response: new HttpResponse({ statusCode: status, headers, body }) };
  }

  updateHttpClientConfig<Key extends keyof TransportOptions>(
    key: Key,
    value: TransportOptions[Key],
  ): void {
    this.#options = { ...this.#options, [key]: value };
  }

  httpHandlerConfigs(): TransportOptions {
    return this.#options;
  }
}
