import { connect, type Socket } from 'node:net';

/** An answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** The body as JSON; undefined where it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
  readonly body: any;
}

/** A connection that says whatever the test wants, byte by byte. */
export class RawClient {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #changed = Promise.withResolvers<void>();
  /** The other side has ended the connection. */
  ended = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#change();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.ended = true;
      this.#change();
    });
  }

  static open(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const { promise, resolve, reject } = Promise.withResolvers<RawClient>();
    const socket = connect({ port, host, noDelay: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(new RawClient(socket));
    });
    return promise;
  }

  send(bytes: string | Buffer): void {
    this.#socket.write(bytes, 'latin1');
  }

  /** Says that nothing more comes, and goes on listening. */
  halfClose(): void {
    this.#socket.end();
  }

  close(): void {
    this.#socket.destroy();
  }

  /**
   * The next answer.
   *
   * @param bodiless - The answer to a HEAD: what its length says does not come.
   * @throws Error when the connection ends first.
   */
  async answer({ bodiless = false } = {}): Promise<RawAnswer> {
    for (;;) {
      const answer = this.#take(bodiless);
      if (answer !== undefined) return answer;
      if (this.ended) throw new Error(`ended after ${JSON.stringify(this.rest)}`);
      await this.#changed.promise;
    }
  }

  /** Resolves when the other side has ended the connection. */
  async end(): Promise<void> {
    while (!this.ended) await this.#changed.promise;
  }

  /** What was received and belongs to no answer that was taken. */
  get rest(): string {
    return this.#received.toString('latin1');
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  #take(bodiless: boolean): RawAnswer | undefined {
    const head = this.#received.indexOf('\r\n\r\n');
    if (head < 0) return undefined;
    const [first = '', ...lines] = this.#received
      .subarray(0, head)
      .toString('latin1')
      .split('\r\n');
    const headers: Record<string, string> = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const length = bodiless ? 0 : Number(headers['content-length'] ?? 0);
    const begin = head + 4;
    if (this.#received.length < begin + length) return undefined;
    const text = this.#received.subarray(begin, begin + length).toString('utf8');
    this.#received = this.#received.subarray(begin + length);
    return { status: Number(first.split(' ')[1]), headers, text, body: parsed(text) };
  }
}

/** One exchange on a connection of its own. */
export async function exchange(port: number, bytes: string | Buffer): Promise<RawAnswer> {
  const client = await RawClient.open(port);
  client.send(bytes);
  try {
    return await client.answer();
  } finally {
    client.close();
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A request as text; the last line ends the header section. */
export function lines(...all: readonly string[]): string {
  return `${all.join('\r\n')}\r\n\r\n`;
}
