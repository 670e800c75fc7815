import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { type Clock, type DurationMs, systemClock } from '../clock.ts';
import { isStaleConnection } from './dispatcher.ts';

/** One HTTP request. */
export interface ExchangeRequest {
  /** Scheme, host and port, e.g. `https://eks-auth.eu-central-1.api.aws`. */
  readonly origin: string;
  /** Path and query. */
  readonly path: string;
  readonly method: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | Uint8Array | undefined;
}

/** What one exchange may cost. */
export interface ExchangeLimits {
  /** From the call to the last byte of the answer, waiting for a connection included. */
  readonly timeout: DurationMs;
  /** Bytes of the answer's body. */
  readonly maxBytes: number;
  /** Ends the exchange early; it then fails with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Default is the real time. */
  readonly clock?: Clock | undefined;
}

/** A complete answer. */
export interface ExchangeResponse {
  readonly status: number;
  /** Names in lower case; a repeated header's values are joined by `, `. */
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

/** The exchange took longer than its time-out. */
export class ExchangeTimeoutError extends Error {
  override readonly name = 'TimeoutError';
  readonly code = 'ERR_EXCHANGE_TIMEOUT';

  constructor(timeout: DurationMs) {
    super(`no complete answer within ${timeout} ms`);
  }
}

/** The answer's body was larger than allowed. */
export class ExchangeTooLargeError extends Error {
  override readonly name = 'ExchangeTooLargeError';
  readonly code = 'ERR_EXCHANGE_TOO_LARGE';
  /** Status of the answer. */
  readonly status: number;

  constructor(maxBytes: number, status: number) {
    super(`answer is larger than ${maxBytes} bytes`);
    this.status = status;
  }
}

/** The connection ended within the answer's body. */
export class IncompleteAnswerError extends Error {
  override readonly name = 'IncompleteAnswerError';
  readonly code = 'ERR_INCOMPLETE_ANSWER';
  /** Status of the answer. */
  readonly status: number;

  constructor(status: number, cause: Error) {
    super(`the connection ended before the answer was complete: ${cause.message}`, { cause });
    this.status = status;
  }
}

/**
 * Sends one request and reads its answer whole. Redirects are not followed.
 *
 * Where the server had closed the kept connection that the request went out on, the request
 * is sent again on another, within the same time-out (RFC 9112, section 9.3.1: such a request
 * was not processed as far as a client can know; the caller must accept that it might have been).
 *
 * @throws ExchangeTimeoutError, ExchangeTooLargeError, IncompleteAnswerError, the signal's reason, or
 * undici's or Node's error of the connection.
 */
export async function exchange(
  dispatcher: Dispatcher,
  request: ExchangeRequest,
  limits: ExchangeLimits,
): Promise<ExchangeResponse> {
  const { timeout, signal, clock = systemClock } = limits;
  signal?.throwIfAborted();
  const cancel = new AbortController();
  const onAbort = () => cancel.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = clock.setTimeout(() => cancel.abort(new ExchangeTimeoutError(timeout)), timeout);
  try {
    for (;;) {
      try {
        return await attempt(dispatcher, request, limits.maxBytes, cancel.signal);
      } catch (error) {
        // Each round uses up one dead connection of a bounded pool, so this ends.
        if (!isStaleConnection(error)) throw error;
      }
    }
  } finally {
    clock.clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

function attempt(
  dispatcher: Dispatcher,
  request: ExchangeRequest,
  maxBytes: number,
  signal: AbortSignal,
): Promise<ExchangeResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<ExchangeResponse>();
  let controller: Dispatcher.DispatchController | undefined;
  let status = 0;
  let headers: IncomingHttpHeaders = {};
  let size = 0;
  const chunks: Buffer[] = [];

  const fail = (error: Error) => {
    signal.removeEventListener('abort', onAbort);
    reject(error);
    controller?.abort(error);
  };
  const onAbort = () => fail(signal.reason);
  if (signal.aborted) return Promise.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });

  dispatcher.dispatch(
    {
      origin: request.origin,
      path: request.path,
      method: request.method,
      headers: request.headers ?? {},
      body: request.body ?? null,
    },
    {
      onRequestStart(started) {
        controller = started;
        // It may have been given up while it waited for a connection.
        if (signal.aborted) started.abort(signal.reason);
      },
      onResponseStart(_, statusCode, received) {
        if (statusCode < 200) return;
        status = statusCode;
        headers = received;
        if (Number(received['content-length']) > maxBytes) {
          fail(new ExchangeTooLargeError(maxBytes, status));
        }
      },
      onResponseData(_, chunk) {
        size += chunk.length;
        if (size > maxBytes) fail(new ExchangeTooLargeError(maxBytes, status));
        else chunks.push(chunk);
      },
      onResponseEnd() {
        signal.removeEventListener('abort', onAbort);
        resolve({ status, headers: joined(headers), body: Buffer.concat(chunks, size) });
      },
      onResponseError(_, error) {
        signal.removeEventListener('abort', onAbort);
        const cut = status !== 0 && error.name !== 'HTTPParserError';
        reject(cut ? new IncompleteAnswerError(status, error) : error);
      },
    },
  );
  return promise;
}

function joined(headers: IncomingHttpHeaders): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return flat;
}
