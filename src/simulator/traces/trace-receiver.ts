import { createWriteStream, openSync, type WriteStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { finished } from 'node:stream/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { OtlpError, spansOf } from '../../traces/otlp-json.ts';
import { decodeTraces } from '../../traces/otlp-protobuf.ts';

/** Where OTLP exporters send traces by default. */
export const TRACES_PATH = '/v1/traces';

/** What a receiver takes at most. */
export interface TraceLimits {
  /** Of one request, unpacked. */
  readonly requestBytes: number;
  readonly spans: number;
  /** Of all requests, as they are written. */
  readonly fileBytes: number;
}

const DEFAULT_LIMITS: TraceLimits = {
  requestBytes: 16 * 1024 * 1024,
  spans: 500_000,
  fileBytes: 1024 * 1024 * 1024,
};

const unzip = promisify(gunzip);

/** Why a request is not taken. */
class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * Receives traces by OTLP/HTTP, as protobuf or JSON, and writes each request as a line of JSON:
 * what the OpenTelemetry collector's file exporter writes, and `traces FILE` reads.
 *
 * @see https://opentelemetry.io/docs/specs/otlp/#otlphttp
 */
export class TraceReceiver {
  readonly #file: WriteStream;
  readonly #limits: TraceLimits;
  #received = 0;
  #dropped = 0;
  #written = 0;
  #closed = false;

  /**
   * @param path - The file; what was in it is lost.
   * @param limits - Beyond them spans are dropped and counted.
   * @throws Error - The file cannot be written.
   */
  constructor(path: string, limits: Partial<TraceLimits> = {}) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#file = createWriteStream(path, { fd: openSync(path, 'w', 0o600) });
    // `close` tells; until then there is nobody to be told.
    this.#file.on('error', () => undefined);
  }

  /** Spans that were taken. */
  get received(): number {
    return this.#received;
  }

  /** Spans beyond the limits. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Answers a request for {@link TRACES_PATH}; never throws and never rejects. */
  handle = (request: IncomingMessage, response: ServerResponse): void => {
    this.#take(request).then(
      (answer) => reply(response, 200, answer),
      (error: Error) => {
        const refused = error instanceof Refusal || error instanceof OtlpError;
        const status = error instanceof Refusal ? error.status : refused ? 400 : 500;
        // What was not read of the body stays unread.
        if (!request.complete) response.setHeader('Connection', 'close');
        reply(response, status, { message: error.message });
      },
    );
  };

  /**
   * Writes what is left.
   *
   * @throws Error - The file could not be written.
   */
  async close(): Promise<void> {
    this.#closed = true;
    this.#file.end();
    await finished(this.#file);
  }

  async #take(request: IncomingMessage): Promise<unknown> {
    if (request.method !== 'POST') throw new Refusal(405, 'traces are sent with POST');
    const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
    if (type !== 'application/json' && type !== 'application/x-protobuf') {
      throw new Refusal(415, 'traces are application/json or application/x-protobuf');
    }
    const body = await this.#body(request);
    const traces = type === 'application/json' ? parse(body) : decodeTraces(body);
    const spans = spansOf(traces).length;
    if (this.#closed) throw new Refusal(503, 'no more traces are taken');
    const line = `${JSON.stringify(traces)}\n`;
    const { spans: mostSpans, fileBytes } = this.#limits;
    if (this.#received + spans > mostSpans || this.#written + line.length > fileBytes) {
      this.#dropped += spans;
      const errorMessage = `no more than ${mostSpans} spans in ${fileBytes} bytes are collected`;
      return accepted(type, { rejectedSpans: spans, errorMessage });
    }
    this.#received += spans;
    this.#written += line.length;
    this.#file.write(line);
    return accepted(type);
  }

  async #body(request: IncomingMessage): Promise<Buffer> {
    const { requestBytes } = this.#limits;
    const encoding = request.headers['content-encoding'] ?? 'identity';
    if (encoding !== 'identity' && encoding !== 'gzip') {
      throw new Refusal(415, `content-encoding ${JSON.stringify(encoding)} is not gzip`);
    }
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > requestBytes) throw tooLong(requestBytes);
      chunks.push(chunk);
    }
    const body = Buffer.concat(chunks);
    if (encoding === 'identity') return body;
    return unzip(body, { maxOutputLength: requestBytes }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ERR_BUFFER_TOO_LARGE') throw tooLong(requestBytes);
      throw new Refusal(400, 'the body is not gzip');
    });
  }
}

function tooLong(bytes: number): Refusal {
  return new Refusal(413, `the body has more than ${bytes} bytes`);
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw new Refusal(400, 'the body is not JSON');
  }
}

/** An ExportTraceServiceResponse in the encoding of the request. */
function accepted(
  type: string,
  partialSuccess?: { readonly rejectedSpans: number; readonly errorMessage: string },
): unknown {
  if (type === 'application/json') return partialSuccess === undefined ? {} : { partialSuccess };
  // An empty message. That spans were dropped is said by `dropped`; exporters only log it.
  return Buffer.alloc(0);
}

function reply(response: ServerResponse, status: number, answer: unknown): void {
  const protobuf = Buffer.isBuffer(answer);
  const body = protobuf ? answer : Buffer.from(JSON.stringify(answer));
  response.writeHead(status, {
    'Content-Type': protobuf ? 'application/x-protobuf' : 'application/json',
    'Content-Length': body.length,
  });
  response.end(body);
}
