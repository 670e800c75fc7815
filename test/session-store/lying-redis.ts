import { createServer, type Socket } from 'node:net';
import type { Test } from 'tap';

/** What a server says to a command; undefined: nothing. */
export type Answer = string | Buffer | undefined;

/** A server that speaks RESP, and says what the test has it say. */
export interface LyingRedis {
  readonly url: string;
  /** What it says to a command, by its name in lower case; else what a Redis would say. */
  readonly lies: Map<string, (socket: Socket, args: readonly string[]) => Answer>;
  /** Says something on every connection, unasked. */
  say(text: string): void;
  /** Ends every connection. */
  hangUp(): void;
  /** Connections that were made so far. */
  readonly connections: number;
}

/** What a Redis says of itself. */
const INFO = 'redis_version:7.0.0\r\nloading:0\r\n';

const HONEST: Readonly<Record<string, (args: readonly string[]) => Answer>> = {
  info: () => `$${INFO.length}\r\n${INFO}\r\n`,
  subscribe: ([channel = '']) =>
    `*3\r\n$9\r\nsubscribe\r\n$${channel.length}\r\n${channel}\r\n:1\r\n`,
  ping: () => '*2\r\n$4\r\npong\r\n$0\r\n\r\n',
  publish: () => ':0\r\n',
  eval: () => '*1\r\n$4\r\nnone\r\n',
};

/** Starts it on a free port; it ends with the test. */
export async function startLyingRedis(t: Test): Promise<LyingRedis> {
  const lies: LyingRedis['lies'] = new Map();
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    let text = '';
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += chunk;
      for (;;) {
        const command = take(text);
        if (command === undefined) return;
        text = text.slice(command.length);
        const [name = '', ...args] = command.words;
        const lie = lies.get(name.toLowerCase());
        const honest = HONEST[name.toLowerCase()] ?? (() => '+OK\r\n');
        const answer = lie === undefined ? honest(args) : lie(socket, args);
        if (answer !== undefined && socket.writable) socket.write(answer);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `redis://127.0.0.1:${address.port}`,
    lies,
    say(said) {
      for (const socket of sockets) socket.write(said);
    },
    hangUp() {
      for (const socket of sockets) socket.destroy();
    },
    get connections() {
      return connections;
    },
  };
}

/** The first command of what was received, once all of it is there. */
function take(text: string): { readonly words: string[]; readonly length: number } | undefined {
  const header = /^\*(\d+)\r\n/.exec(text);
  if (header === null) return undefined;
  const words: string[] = [];
  let at = header[0].length;
  while (words.length < Number(header[1])) {
    const length = /^\$(\d+)\r\n/.exec(text.slice(at, at + 16));
    if (length === null) return undefined;
    const from = at + length[0].length;
    const to = from + Number(length[1]);
    if (text.length < to + 2) return undefined;
    words.push(text.slice(from, to));
    at = to + 2;
  }
  return { words, length: at };
}
