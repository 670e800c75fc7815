import { type Agent, request } from 'node:http';
import type { DurationMs, EpochMs } from '../../src/clock.ts';

/** What became of one request. */
export interface Reply {
  /** 0 where there was no answer. */
  readonly status: number;
  readonly body: string;
  readonly retryAfter: string | undefined;
  readonly sentAt: EpochMs;
  readonly answeredAt: EpochMs;
  readonly took: DurationMs;
  /** Where there was no answer: `HANG_UP` when the client had enough of waiting. */
  readonly error: string | undefined;
}

/** How to ask. */
export interface AskOptions {
  readonly port: number;
  readonly token: string;
  /** The address to come from: each of 127.0.0.0/8 is a source of its own to the broker. */
  readonly from: string;
  /** Keeps connections alive; default a connection of its own. */
  readonly agent?: Agent | undefined;
  /** Hangs up after so many milliseconds; default as late as no client would. */
  readonly patience?: DurationMs | undefined;
}

const LAST_PATIENCE: DurationMs = 30_000;

/** Asks the broker for credentials, once. */
export function ask(options: AskOptions): Promise<Reply> {
  const { port, token, from, agent, patience = LAST_PATIENCE } = options;
  const started = performance.now();
  const sentAt = Date.now();
  const { promise, resolve } = Promise.withResolvers<Reply>();
  const settle = (status: number, body: string, retryAfter?: string, error?: string) => {
    const took = performance.now() - started;
    resolve({ status, body, retryAfter, sentAt, answeredAt: Date.now(), took, error });
  };
  const failed = (error: NodeJS.ErrnoException) =>
    settle(0, '', undefined, error.code ?? error.message);
  const asked = request({
    host: '127.0.0.1',
    port,
    path: '/v1/credentials',
    localAddress: from,
    headers: { Authorization: token },
    agent: agent ?? false,
  });
  const hangUp = setTimeout(() => {
    settle(0, '', undefined, 'HANG_UP');
    asked.destroy();
  }, patience);
  asked.on('error', failed);
  asked.on('response', (response) => {
    let body = '';
    response.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    response.on('error', failed);
    response.on('end', () => {
      settle(response.statusCode ?? 0, body, response.headers['retry-after']);
    });
  });
  asked.end();
  return promise.finally(() => clearTimeout(hangUp));
}
