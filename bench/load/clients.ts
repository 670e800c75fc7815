import { setTimeout as pause } from 'node:timers/promises';
import type { DurationMs } from '../../src/clock.ts';
import { type Address, type Try, tryOnce } from './one-try.ts';

/** A process in a pod that wants credentials, as patient as its SDK. */
export interface Client {
  readonly token: string;
  /** When it starts, after the load does. */
  readonly startAt: DurationMs;
  /** How long one try waits before the client hangs up. */
  readonly patience: DurationMs;
  readonly tries: number;
  /** Between a try that failed and the next. */
  readonly pause: DurationMs;
  readonly from?: string | undefined;
}

/** What a client got in the end. Times since the load began. */
export interface ClientResult {
  /** Status of its last try; 200 where it has credentials. */
  readonly status: number;
  readonly body: string;
  readonly failure: string | undefined;
  readonly tries: number;
  /** Answers 503 among its tries. */
  readonly told503: number;
  readonly startedAt: DurationMs;
  readonly endedAt: DurationMs;
}

/** Lets clients run, each on its own, and waits for all of them; results in their order. */
export async function runClients(
  target: Address,
  clients: readonly Client[],
): Promise<ClientResult[]> {
  const began = performance.now();
  return await Promise.all(clients.map((client) => runClient(target, client, began)));
}

async function runClient(target: Address, client: Client, began: number): Promise<ClientResult> {
  const wait = client.startAt - (performance.now() - began);
  if (wait > 0) await pause(wait);
  const startedAt = performance.now() - began;
  let told503 = 0;
  for (let tries = 1; ; tries += 1) {
    const answer: Try = await tryOnce(target, client.token, client);
    if (answer.status === 503) told503 += 1;
    if (answer.status === 200 || tries >= client.tries) {
      const { status, body, failure } = answer;
      return {
        status,
        body,
        failure,
        tries,
        told503,
        startedAt,
        endedAt: performance.now() - began,
      };
    }
    await pause(client.pause);
  }
}
