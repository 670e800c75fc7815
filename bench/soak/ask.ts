import type { Agent } from 'node:http';
import type { DurationMs, EpochMs } from '../../src/clock.ts';
import { ask, NoAnswerInTimeError } from '../harness/ask.ts';

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
export interface CredentialRequest {
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

/** Asks the broker for credentials, once; never rejects. */
export async function askForCredentials(options: CredentialRequest): Promise<Reply> {
  const { port, token, from, agent, patience = LAST_PATIENCE } = options;
  const started = performance.now();
  const sentAt = Date.now();
  const answered = await ask(port, {
    path: '/v1/credentials',
    headers: { Authorization: token },
    within: patience,
    from,
    agent,
  }).then(
    ({ status, body, headers }) => ({
      status,
      body,
      retryAfter: headers['retry-after']?.toString(),
      error: undefined,
    }),
    (error: NodeJS.ErrnoException) => ({
      status: 0,
      body: '',
      retryAfter: undefined,
      error: error instanceof NoAnswerInTimeError ? 'HANG_UP' : (error.code ?? error.message),
    }),
  );
  return { ...answered, sentAt, answeredAt: Date.now(), took: performance.now() - started };
}
