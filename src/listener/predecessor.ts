import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { dirname } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Clock, DurationMs } from '../clock.ts';
import type { FlushChoice } from '../session-store/session-store.ts';
import {
  HAND_OVER_PATH,
  HAND_OVER_VERSION,
  type HandedSession,
  type HandOverOffer,
  type Successor,
} from './hand-over.ts';
import { readHandedSessions } from './handed-sessions.ts';
import { checkOwnFolder } from './own-folder.ts';

/** How long a predecessor may take for each of its answers. */
const TIMEOUT: DurationMs = 2_000;

/** Something answers on the admin socket of this node's broker, and does not hand over. */
export class NoHandOverError extends Error {
  override readonly name = 'NoHandOverError';
  readonly code = 'ERR_NO_HAND_OVER';
  /** It said that it never will: there is no use in asking again. */
  readonly final: boolean;

  constructor(message: string, final = false) {
    super(message);
    this.final = final;
  }
}

/** The broker that runs on this node already, and hands over to this one. */
export class Predecessor {
  /** What it held. */
  readonly sessions: readonly HandedSession[];
  /** Its `--ready-id`; undefined where it has none. */
  readonly readyId: string | undefined;
  /** Resolves when its process is gone. */
  readonly gone: Promise<void>;
  readonly #clock: Clock;
  readonly #asked: ClientRequest;
  readonly #lines: AsyncIterator<string>;
  #isGone = false;
  /** Answers come in the order of the questions, so each waits for the one before. */
  #answered: Promise<unknown> = Promise.resolve();

  private constructor(
    clock: Clock,
    asked: ClientRequest,
    answer: IncomingMessage,
    lines: AsyncIterator<string>,
    { version, sessions, readyId }: Partial<HandOverOffer>,
  ) {
    this.sessions = version === HAND_OVER_VERSION ? readHandedSessions(sessions) : [];
    this.readyId = typeof readyId === 'string' ? readyId : undefined;
    this.#clock = clock;
    this.#asked = asked;
    this.#lines = lines;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gone = promise;
    answer.once('close', () => {
      this.#isGone = true;
      resolve();
    });
  }

  /**
   * Asks the broker behind an admin socket to hand over, if there is one.
   *
   * @param socketPath - Where both have their admin socket.
   * @param successor - What this broker is.
   * @param clock - What its answers are timed by.
   * @returns Undefined where no broker listens.
   * @throws NoHandOverError saying why, where one does and does not hand over.
   */
  static async find(
    socketPath: string,
    successor: Successor,
    clock: Clock,
  ): Promise<Predecessor | undefined> {
    // What comes from where others can write is not to be trusted with pods. Looked at first: a
    // folder of this user's own cannot be put in the place of theirs once they have answered.
    const foreign = await checkOwnFolder(dirname(socketPath)).then(
      () => undefined,
      (error: Error) => error,
    );
    const asked = request({ socketPath, method: 'POST', path: HAND_OVER_PATH, agent: false });
    // What goes wrong is heard of by those who wait, or means that it is gone.
    asked.on('error', () => undefined);
    try {
      asked.write(
        line({
          version: HAND_OVER_VERSION,
          clusterName: successor.clusterName,
          port: successor.port,
          readyId: successor.readyId,
        }),
      );
      const [answer] = (await within(clock, once(asked, 'response'))) as [IncomingMessage];
      answer.on('error', () => undefined);
      if (foreign !== undefined) throw foreign;
      if (answer.statusCode !== 200) throw new Error(`it answers ${answer.statusCode}`);
      const reader: Interface = createInterface({ input: answer });
      const lines = reader[Symbol.asyncIterator]();
      const offer = await nextLine<Partial<HandOverOffer> | null>(clock, lines);
      if (typeof offer !== 'object' || offer === null) throw new Error('it answers something else');
      if (offer.refused !== undefined) {
        throw new NoHandOverError(String(offer.refused), offer.later !== true);
      }
      return new Predecessor(clock, asked, answer, lines, offer);
    } catch (error) {
      asked.destroy();
      if (error instanceof NoHandOverError) throw error;
      const { code, message } = error as NodeJS.ErrnoException;
      // EINVAL: no socket can have a path that long (unix(7)).
      if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'EINVAL') return undefined;
      throw new NoHandOverError(message);
    }
  }

  /**
   * Has it let go of the ports of probes and metrics, and of the admin socket.
   *
   * @returns Whether it has, or is gone; `false` where it takes too long to answer.
   */
  async release(): Promise<boolean> {
    return await this.#done({ release: true });
  }

  /**
   * Has it let go of sessions, so that it does not go on handing out what this broker no longer
   * does.
   *
   * @returns Whether it has, or is gone; `false` where it takes too long to answer.
   */
  async flush(chosen: FlushChoice): Promise<boolean> {
    return await this.#done({ flush: chosen });
  }

  async #done(question: object): Promise<boolean> {
    return await this.#ask(question).then(
      () => true,
      () => this.#isGone,
    );
  }

  #ask(question: object): Promise<unknown> {
    const asked = this.#answered.then(() => {
      this.#asked.write(line(question));
      return nextLine(this.#clock, this.#lines);
    });
    this.#answered = asked.catch(() => undefined);
    return asked;
  }
}

function line(content: object): string {
  return `${JSON.stringify(content)}\n`;
}

async function nextLine<T>(clock: Clock, lines: AsyncIterator<string>): Promise<T> {
  const { value, done } = await within(clock, lines.next());
  if (done === true) throw new Error('it has ended the hand-over');
  return JSON.parse(value) as T;
}

async function within<T>(clock: Clock, answer: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = clock.setTimeout(
    () => late.reject(new Error(`no answer within ${TIMEOUT / 1_000} s`)),
    TIMEOUT,
  );
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clock.clearTimeout(timer);
    answer.catch(() => undefined);
  }
}
