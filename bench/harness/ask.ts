import { type Agent, request } from 'node:http';
import type { DurationMs } from '../../src/clock.ts';

/** What a server of 127.0.0.1 answered. */
export interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

/** What to ask, and how. */
export interface Question {
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Until the answer has to be complete; then the client hangs up. Default 10 s. */
  readonly within?: DurationMs | undefined;
  /** The address to come from; default whichever the kernel takes. */
  readonly from?: string;
  /** Keeps connections alive; default a connection of its own. */
  readonly agent?: Agent | undefined;
}

/** The answer was not complete in time. */
export class NoAnswerInTimeError extends Error {
  override readonly name = 'NoAnswerInTimeError';
  readonly code = 'NO_ANSWER_IN_TIME';
}

/**
 * Asks a server of 127.0.0.1.
 *
 * @throws NoAnswerInTimeError, or what the connection failed with.
 */
export function ask(port: number, question: Question): Promise<Answer> {
  const { path, headers = {}, within = 10_000, from, agent } = question;
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const asked = request({
    host: '127.0.0.1',
    port,
    path,
    headers,
    agent: agent ?? false,
    ...(from !== undefined && { localAddress: from }),
  });
  const timer = setTimeout(
    () => asked.destroy(new NoAnswerInTimeError(`no answer in ${within} ms`)),
    within,
  );
  asked.on('error', reject);
  asked.on('response', (response) => {
    let body = '';
    response.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    response.on('error', reject);
    response.on('end', () => {
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
    });
  });
  asked.end();
  return promise.finally(() => clearTimeout(timer));
}
