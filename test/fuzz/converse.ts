import { connect } from 'node:net';

/** What came of some bytes on a connection. */
export interface Conversation {
  /** Everything that the other side said, as latin1. */
  readonly said: string;
  /** The other side has ended the connection, in one way or another. */
  readonly ended: boolean;
}

/** How long a server may take to end a connection that its client has half closed. */
const ENDS_WITHIN = 10_000;

/**
 * Sends bytes in pieces on a connection of their own, says that nothing more comes, and
 * listens until the other side ends it.
 */
export function converse(port: number, pieces: readonly Uint8Array[]): Promise<Conversation> {
  const { promise, resolve } = Promise.withResolvers<Conversation>();
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const chunks: Buffer[] = [];
  const done = (ended: boolean) => {
    clearTimeout(timer);
    socket.destroy();
    resolve({ said: Buffer.concat(chunks).toString('latin1'), ended });
  };
  const timer = setTimeout(() => done(false), ENDS_WITHIN);
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  socket.on('close', () => done(true));
  socket.on('connect', () => {
    const [first, ...others] = pieces;
    if (first === undefined) {
      socket.end();
      return;
    }
    socket.write(first);
    sendOneByOne(others);
  });
  return promise;

  function sendOneByOne([next, ...others]: readonly Uint8Array[]): void {
    if (socket.destroyed) return;
    if (next === undefined) {
      socket.end();
      return;
    }
    // In a packet of its own, mostly.
    setImmediate(() => {
      if (!socket.destroyed) socket.write(next);
      sendOneByOne(others);
    });
  }
}

/** How many answers with this status are in a conversation. */
export function answersWith(status: number, { said }: Conversation): number {
  return said.split(`HTTP/1.1 ${status} `).length - 1;
}
