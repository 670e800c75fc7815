import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { DurationMs } from '../clock.ts';
import type { GetRequest } from '../http/get-request.ts';
import type { ApiStreamPiece } from '../workers/api-stream.ts';
import type { Workers } from '../workers/pool.ts';
import type { ApiServerAccess } from './access.ts';

/** Bounds of one request. */
export interface RequestLimits {
  readonly timeout: DurationMs;
  /** Bytes of the answer's body. */
  readonly maxBytes: number;
  /** Ends the wait for it early. */
  readonly signal?: AbortSignal | undefined;
}

/** A complete answer. */
export interface ApiAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/** An answer that is read as it comes in. */
export interface StreamedAnswer {
  readonly status: number;
  readonly body: AsyncIterable<Buffer>;
}

/** The API server did not answer; `message` says why. */
export class ApiRequestError extends Error {
  override readonly name = 'ApiRequestError';
  readonly code = 'ERR_API_REQUEST';
}

/**
 * Requests to the API server. The credentials are read anew for each. They are made on a worker
 * thread, which has connections and TLS anyway: a second set of them on the main thread would
 * cost 6 MiB.
 */
export class ApiClient {
  readonly #access: ApiServerAccess;
  readonly #workers: Pick<Workers, 'apiRequest' | 'apiStream'>;

  constructor(access: ApiServerAccess, workers: Pick<Workers, 'apiRequest' | 'apiStream'>) {
    this.#access = access;
    this.#workers = workers;
  }

  /** @throws ApiRequestError, the signal's reason, or what the access fails with. */
  get(path: string, limits: RequestLimits): Promise<ApiAnswer> {
    return this.#request(path, limits);
  }

  /**
   * Changes an object by a JSON patch (RFC 6902).
   *
   * @throws ApiRequestError, the signal's reason, or what the access fails with.
   */
  patch(path: string, patch: unknown, limits: RequestLimits): Promise<ApiAnswer> {
    return this.#request(path, limits, JSON.stringify(patch));
  }

  async #request(path: string, limits: RequestLimits, patch?: string): Promise<ApiAnswer> {
    const { timeout, maxBytes, signal } = limits;
    const request = { ...(await this.#access.request(path, timeout)), timeout };
    const task = { request, maxBytes, ...(patch !== undefined && { patch }) };
    const outcome = await unlessAborted(this.#workers.apiRequest(task), signal);
    if (outcome.failure !== undefined) throw new ApiRequestError(outcome.failure);
    return { status: outcome.status, body: asBuffer(outcome.body) };
  }

  /**
   * A GET whose answer is read as it comes in; it lasts until its end or `signal`.
   *
   * @throws ApiRequestError, the signal's reason, or what the access fails with; the body's
   *   iteration the first two.
   */
  async stream(path: string, signal: AbortSignal): Promise<StreamedAnswer> {
    const request = await this.#access.request(path);
    signal.throwIfAborted();
    const { port1: ours, port2: port } = new MessageChannel();
    // Its other side hears of it, and ends the request.
    signal.addEventListener('abort', () => ours.close(), { once: true });
    const body = pieces(ours, signal);
    try {
      return { status: await this.#begin(request, port, signal), body };
    } catch (error) {
      ours.close();
      throw error;
    }
  }

  async #begin(request: GetRequest, port: MessagePort, signal: AbortSignal): Promise<number> {
    const begun = await unlessAborted(this.#workers.apiStream({ request, port }), signal);
    if (begun.failure !== undefined) throw new ApiRequestError(begun.failure);
    return begun.status;
  }
}

/** What comes through a port, asked for piece by piece. */
function pieces(port: MessagePort, signal: AbortSignal): AsyncIterable<Buffer> {
  let waiting: PromiseWithResolvers<ApiStreamPiece> | undefined;
  let closed = false;
  port.on('message', (piece: ApiStreamPiece) => waiting?.resolve(piece));
  port.on('close', () => {
    closed = true;
    waiting?.reject(aborted(signal) ?? new ApiRequestError(THREAD_ENDED));
  });
  const next = (): Promise<ApiStreamPiece> => {
    if (closed) throw aborted(signal) ?? new ApiRequestError(THREAD_ENDED);
    waiting = Promise.withResolvers();
    port.postMessage('next');
    return waiting.promise;
  };
  return {
    async *[Symbol.asyncIterator]() {
      try {
        for (;;) {
          const said = await next();
          if ('failure' in said) throw new ApiRequestError(said.failure);
          if ('end' in said) return;
          yield asBuffer(said.piece);
        }
      } finally {
        port.close();
      }
    },
  };
}

const THREAD_ENDED = 'the worker thread of the request has ended';

function aborted(signal: AbortSignal): unknown {
  return signal.aborted ? signal.reason : undefined;
}

/** Waits for what may be of no more use before it is there. */
async function unlessAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return await promise;
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  const stop = () => reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    return await Promise.race([promise, stopped]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** What came from another thread is no Buffer any more. */
function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
