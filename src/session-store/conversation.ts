import type { Socket } from 'node:net';
import { type Outline, type RespBounds, RespError, RespOutlines } from './resp-outlines.ts';

const KIBIBYTE = 1_024;
/** What brokers send is their own: none of it is of any size. */
const SENT: RespBounds = { bytes: 64 * 1_024 * KIBIBYTE, elements: 1_048_576 };
/** Names of some 20,000 entries, or a hundred entries of the largest size. */
const OF_SCRIPTS: RespBounds = { bytes: 8 * 1_024 * KIBIBYTE, elements: 65_536 };
const OF_OTHERS: RespBounds = { bytes: 64 * KIBIBYTE, elements: 16 };
/** All that a server says of itself, of the nodes of its cluster, or of other sentinels. */
const OF_SERVERS: RespBounds = { bytes: 1_024 * KIBIBYTE, elements: 65_536 };
const BOUNDS: Readonly<Record<string, RespBounds>> = {
  eval: OF_SCRIPTS,
  info: OF_SERVERS,
  cluster: OF_SERVERS,
  sentinel: OF_SERVERS,
};
/** The slots of a cluster are fewer, and so are ports. */
const MAX_IN_CLUSTER = 65_535;
/** Besides messages. */
const SAID_TO_LISTENERS: ReadonlySet<string> = new Set(['subscribe', 'pong']);
const REDIRECTION = /^(?:MOVED|ASK)\b/;
const REDIRECTION_FORM = /^(?:MOVED|ASK) \d{1,5} [^\s:]\S*:\d{1,5}$/;

/**
 * A conversation with Redis on one connection: each answer is to a command, of a size that its
 * command allows, and of a form that ioredis can take. It takes what it is sent on trust: a number
 * in the wrong place throws where nobody catches it, and a length of gigabytes is waited for.
 */
export class Conversation {
  /** Commands that are not answered yet. */
  readonly #asked: string[] = [];
  readonly #sent: RespOutlines;
  readonly #received: RespOutlines;
  #listens = false;

  constructor() {
    this.#sent = new RespOutlines(SENT, ({ head }) => {
      this.#asked.push(head.toLowerCase());
      return SENT;
    });
    this.#received = new RespOutlines(OF_OTHERS, (outline) => this.#answered(outline));
  }

  /** Commands have been sent. */
  sent(bytes: Uint8Array): void {
    this.#sent.read(bytes);
  }

  /**
   * Something was received.
   *
   * @throws RespError
   */
  received(bytes: Uint8Array): void {
    this.#received.bound(this.#bounds());
    this.#received.read(bytes);
  }

  #bounds(): RespBounds {
    return BOUNDS[this.#asked[0] ?? ''] ?? OF_OTHERS;
  }

  #answered(outline: Outline): RespBounds {
    if (!this.#isMessage(outline)) {
      const command = this.#asked.shift();
      if (command === undefined) throw new RespError('an answer to nothing');
      this.#check(command, outline);
    }
    return this.#bounds();
  }

  /** What is published comes unasked for, to whoever has subscribed. */
  #isMessage({ type, head, length, texts }: Outline): boolean {
    if (!this.#listens || type !== '*') return false;
    if (head === 'message') {
      if (length === 3 && texts === 3) return true;
      throw new RespError('a message without a text');
    }
    // ioredis looks at the first two parts.
    if (texts < 2 || !SAID_TO_LISTENERS.has(head))
      throw new RespError('an announcement of no kind');
    return false;
  }

  #check(command: string, { type, length, texts, head, holdsNull, greatest }: Outline): void {
    if (type === '-') {
      if (REDIRECTION.test(head) && !REDIRECTION_FORM.test(head)) {
        throw new RespError('a redirection to nowhere');
      }
      return;
    }
    if (command === 'subscribe') {
      if (type !== '*' || length !== 3 || texts < 2) throw new RespError('no subscription');
      this.#listens = true;
    }
    if (command === 'cluster' && (holdsNull || greatest > MAX_IN_CLUSTER || type === ':')) {
      throw new RespError('a cluster that cannot be');
    }
    if (command === 'info' && (type !== '$' || holdsNull)) throw new RespError('no information');
  }
}

/**
 * Has a connection end as soon as Redis sends what it was not asked for, before anything else
 * looks at it.
 */
export function followed<T extends Socket>(stream: T): T {
  const conversation = new Conversation();
  const push = stream.push.bind(stream);
  const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
  // All that a socket reads goes through `push`, whoever listens and whenever they began to.
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk instanceof Uint8Array) {
      try {
        conversation.received(chunk);
      } catch (error) {
        stream.destroy(error as Error);
        return false;
      }
    }
    return push(chunk, encoding);
  };
  stream.write = ((chunk: string | Uint8Array, ...others: unknown[]) => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    conversation.sent(bytes);
    return write(bytes, ...others);
  }) as T['write'];
  return stream;
}
