import type { Clock, DurationMs } from '../clock.ts';
import { Circuit, CircuitOpenError, type CircuitState } from './circuit.ts';
import type { RedisClient } from './redis-client.ts';
import type { ReadReply } from './replies.ts';
import { RedisTimeoutError, within } from './within.ts';

/** What commands are for, as they are counted. */
export type Purpose =
  | 'load'
  | 'claim'
  | 'renew-lease'
  | 'release'
  | 'keep'
  | 'revoke'
  | 'discard'
  | 'flush'
  | 'announce'
  | 'probe';
/** How they end. */
export type CommandResult = 'ok' | 'timeout' | 'error' | 'not-sent';

/** What {@link RedisLink} is made from. */
export interface RedisLinkOptions {
  readonly clock: Clock;
  readonly client: RedisClient;
  /** A key that may be written to find out whether Redis is well. */
  readonly probeKey: string;
  /** How fast Redis has to answer a probe. */
  readonly budget: DurationMs;
  /** A number from 0 to 1. */
  readonly random: () => number;
  readonly onCommand: (purpose: Purpose, result: CommandResult) => void;
  readonly onChange: (state: CircuitState) => void;
}

/** How long the key that probes write lives. */
const PROBE_LIVES: DurationMs = 1_000;

/** The way to Redis: one connection, behind a circuit, each command with a time of its own. */
export class RedisLink {
  readonly #options: RedisLinkOptions;
  readonly #circuit: Circuit;
  #lastError = '';

  constructor(options: RedisLinkOptions) {
    this.#options = options;
    const { client, clock, random, onChange } = options;
    this.#circuit = new Circuit({
      clock,
      random,
      probe: () =>
        this.#probe().catch((error: Error) => {
          throw new Error(errorCode(error));
        }),
      onChange,
    });
    client.on('ready', () => this.#circuit.connected());
    client.on('close', () => this.#circuit.disconnected(this.#lastError || 'connection closed'));
    // Why it closes: refused, wrong password, wrong certificate.
    client.on('error', (error: Error) => {
      this.#lastError = errorCode(error);
      // Where no sentinel answers, no connection is begun that could close.
      this.#circuit.unreachable(this.#lastError);
    });
  }

  /** Begins to connect, and goes on for as long as it takes. */
  start(): void {
    this.#options.client.connect().catch((error: Error) => {
      this.#circuit.disconnected(this.#lastError || errorCode(error));
    });
  }

  get state(): CircuitState {
    return this.#circuit.state;
  }

  get reason(): string {
    return this.#circuit.reason;
  }

  /** It is not known yet whether Redis is there. */
  get untried(): boolean {
    return this.#circuit.untried;
  }

  /**
   * Sends a command, or a pipeline.
   *
   * @param limit - The longest to wait for its answer.
   * @param command - Reads the answer as well: one that is malformed counts as a failure.
   * @throws CircuitOpenError when nothing was sent; RedisTimeoutError; MalformedReplyError; an
   *   error of Redis.
   */
  async send<T>(
    purpose: Purpose,
    limit: DurationMs,
    command: (client: RedisClient) => Promise<T>,
  ): Promise<T> {
    const { onCommand } = this.#options;
    if (this.#circuit.state !== 'closed') {
      onCommand(purpose, 'not-sent');
      throw new CircuitOpenError(this.#circuit.reason);
    }
    try {
      const answer = await this.#run(purpose, limit, command);
      this.#circuit.succeeded();
      return answer;
    } catch (error) {
      const code = errorCode(error as Error);
      // An ACL without the channel: everything else works.
      if (purpose !== 'announce' || code !== 'NOPERM') this.#circuit.failed(code);
      throw error;
    }
  }

  /** Sends a script, and reads its answer; keys and arguments as `EVAL` takes them. */
  async script<T>(
    purpose: Purpose,
    limit: DurationMs,
    { text, keys, args, read }: Script<T>,
  ): Promise<T> {
    return await this.send(purpose, limit, async (client) =>
      read(await client.eval(text, keys.length, ...keys, ...args)),
    );
  }

  /** Lets go of the connection. */
  stop(): void {
    this.#circuit.stop();
    this.#options.client.disconnect();
  }

  /** What is asked of Redis is mostly writing, so a write has to work. */
  async #probe(): Promise<void> {
    const { probeKey, budget } = this.#options;
    await this.#run('probe', budget, (client) => client.set(probeKey, 1, 'PX', PROBE_LIVES));
    this.#lastError = '';
  }

  async #run<T>(
    purpose: Purpose,
    limit: DurationMs,
    command: (client: RedisClient) => Promise<T>,
  ): Promise<T> {
    const { clock, client, onCommand } = this.#options;
    try {
      const answer = await within(clock, limit, command(client));
      onCommand(purpose, 'ok');
      return answer;
    } catch (error) {
      onCommand(purpose, error instanceof RedisTimeoutError ? 'timeout' : 'error');
      throw error;
    }
  }
}

/** A script of Redis with what it works on, and how its answer is read. */
export interface Script<T> {
  readonly text: string;
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
  readonly read: ReadReply<T>;
}

/** What an error of Redis or of the connection begins with, as `ERR`, `NOPERM`, `WRONGPASS`. */
const REPLY_CODE = /^[A-Z]{3,32}\b/;

/** Longer than any message of Node.js or ioredis that says why a connection failed. */
const MAX_CHARACTERS = 200;

/** The code of an error of Redis or of the connection: its text may repeat what was sent. */
export function errorCode(error: Error): string {
  if (error instanceof RedisTimeoutError) return error.message;
  const { code, message, name } = error as NodeJS.ErrnoException;
  if (code !== undefined) return code;
  const replyCode = REPLY_CODE.exec(message)?.[0];
  if (replyCode !== undefined) return replyCode;
  if (name === 'ReplyError') return 'ERR';
  // Some messages of ioredis quote what the server has sent.
  const said = message.slice(0, MAX_CHARACTERS).replace(/ Last (reply|error): .*/s, '');
  return name === 'Error' ? said : `${name}: ${said}`;
}
