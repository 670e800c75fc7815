import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EpochMs } from '../clock.ts';
import type { AuditEvent } from './audit.ts';

/** Bodies over this are refused: the largest legitimate one is an association's policy. */
export const BODY_LIMIT = 256 * 1024;

/** What a call writes into the audit log about itself while it is served. */
export type AuditDraft = Partial<Omit<AuditEvent, 'sequence' | 'time' | 'duration' | 'requestId'>>;

/** One request and its answer. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  /** As it came: still percent-encoded. */
  readonly path: string;
  /** As it came, without the question mark. */
  readonly query: string;
  readonly requestId: string;
  readonly receivedAt: EpochMs;
  /** What the audit log will say. */
  readonly audit: AuditDraft = {};
  body: Buffer = Buffer.alloc(0);
  readonly #serviceNow: () => EpochMs;
  readonly #settled: ((status: number) => void)[] = [];
  #isSettled: boolean = false;

  /**
   * @param receivedAt - By the node's clock.
   * @param serviceNow - The services' clock, for the `Date` header.
   */
  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    receivedAt: EpochMs,
    serviceNow: () => EpochMs,
  ) {
    this.request = request;
    this.response = response;
    this.method = request.method ?? '';
    this.receivedAt = receivedAt;
    this.#serviceNow = serviceNow;
    const target = (request.url ?? '/').replace(/^https?:\/\/[^/]+/, '');
    const question = target.indexOf('?');
    this.path = question < 0 ? target : target.slice(0, question);
    this.query = question < 0 ? '' : target.slice(question + 1);
    this.requestId = randomUUID();
    response.sendDate = false;
    response.on('close', () => this.settle(0));
  }

  /** The path's segments, decoded; `undefined` where they are not valid percent-encoding. */
  get segments(): string[] | undefined {
    try {
      return this.path.slice(1).split('/').map(decodeURIComponent);
    } catch {
      return undefined;
    }
  }

  /** The query's parameters. */
  get parameters(): URLSearchParams {
    return new URLSearchParams(this.query);
  }

  /** The caller has gone away, or has been answered. */
  get over(): boolean {
    return this.#isSettled || this.response.destroyed;
  }

  /**
   * Calls back once, with the status that is about to be answered or with 0 when the
   * connection closed without an answer. Before a byte of the answer leaves, so that whoever
   * has the answer finds the call counted.
   */
  onSettled(callback: (status: number) => void): void {
    this.#settled.push(callback);
  }

  /** Reads the whole body; `false` where it is over {@link BODY_LIMIT} or the caller left. */
  async readBody(): Promise<boolean> {
    const chunks: Buffer[] = [];
    let size = 0;
    try {
      for await (const chunk of this.request) {
        size += (chunk as Buffer).length;
        if (size > BODY_LIMIT) return false;
        chunks.push(chunk as Buffer);
      }
    } catch {
      return false;
    }
    this.body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
    return true;
  }

  /** Answers with the headers that all services send, and these. */
  send(status: number, headers: Record<string, string>, body: string): void {
    if (this.over) return;
    this.begin(status, { ...headers, 'Content-Length': String(Buffer.byteLength(body)) });
    this.response.end(body);
  }

  /** Answers the head and leaves the body to the caller. */
  begin(status: number, headers: Record<string, string>): void {
    this.settle(status);
    this.response.writeHead(status, {
      Date: new Date(this.#serviceNow()).toUTCString(),
      'x-amzn-RequestId': this.requestId,
      ...headers,
    });
  }

  /** Answers JSON. */
  json(status: number, value: unknown, headers: Record<string, string> = {}): void {
    this.send(status, { 'Content-Type': 'application/json', ...headers }, JSON.stringify(value));
  }

  /** Closes the connection with a TCP reset. */
  reset(): void {
    this.settle(0);
    this.request.socket.resetAndDestroy();
  }

  /** Marks the call as over: once, with the status that it ends with. */
  settle(status: number): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    for (const callback of this.#settled) callback(status);
  }
}
