import { connect } from 'node:net';
import type { DurationMs } from '../../src/clock.ts';

/** The Host header that pods send, whatever the address is here: other agents insist on it. */
export const POD_HOST = '169.254.170.23';

/** Where a broker or an agent listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What came of one request for credentials. */
export interface Try {
  /** HTTP status; 0 where there was no complete answer. */
  readonly status: number;
  readonly body: string;
  /** Bytes received, headers included. */
  readonly bytes: number;
  /** From the start of connecting until the last byte, or until it was given up. */
  readonly took: DurationMs;
  /** What went wrong with the connection; `patience` where the client hung up. */
  readonly failure?: string | undefined;
}

/** How to ask. */
export interface TryOptions {
  /** Milliseconds from the start of connecting; after them the client closes the connection. */
  readonly patience: DurationMs;
  readonly connection?: 'keep-alive' | 'close';
  /** The client's own address; default whichever the kernel takes. */
  readonly from?: string | undefined;
}

/**
 * Asks for credentials once, on a connection of its own, and hangs up when patience ends: a
 * client without overhead, since a load that is slower than its target measures itself.
 */
export function tryOnce(target: Address, token: string, options: TryOptions): Promise<Try> {
  const { patience, connection = 'keep-alive', from } = options;
  const { promise, resolve } = Promise.withResolvers<Try>();
  const started = performance.now();
  const socket = connect({ ...target, noDelay: true, ...(from && { localAddress: from }) });
  let received = '';
  let over = false;
  const end = (failure?: string) => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    socket.destroy();
    const took = performance.now() - started;
    const bytes = received.length;
    const answer = failure === undefined ? readAnswer(received) : undefined;
    if (answer !== undefined) resolve({ ...answer, bytes, took });
    else resolve({ status: 0, body: '', bytes, took, failure: failure ?? 'unreadable' });
  };
  const timer = setTimeout(() => end('patience'), patience);
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    received += text;
    if (isComplete(received)) end();
  });
  socket.on('end', () => end(isComplete(received) ? undefined : 'cut off'));
  socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  socket.write(
    `GET /v1/credentials HTTP/1.1\r\nHost: ${POD_HOST}\r\nAuthorization: ${token}\r\nConnection: ${connection}\r\n\r\n`,
  );
  return promise;
}

/** The address of the n-th pod of a node: each has one of its own, and limits go by it. */
export function podAddress(index: number): string {
  return `127.1.${(index >> 8) & 255}.${index & 255}`;
}

function isComplete(received: string): boolean {
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const length = /\r\ncontent-length: *(\d+)/i.exec(received.slice(0, end))?.[1];
  return length !== undefined && received.length >= end + 4 + Number(length);
}

function readAnswer(received: string): { status: number; body: string } | undefined {
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(received)?.[1];
  if (status === undefined) return undefined;
  return { status: Number(status), body: received.slice(received.indexOf('\r\n\r\n') + 4) };
}
