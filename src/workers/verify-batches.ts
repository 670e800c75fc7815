import type { EpochMs } from '../clock.ts';
import type { Rules, TimedVerdict, VerifyResult, VerifyTask } from './verify.ts';
import { WorkerError } from './worker-error.ts';

/**
 * Tokens of one message at most. Each costs a worker about 0.1 ms, and all of a message are
 * answered together.
 */
const MAX_BATCH = 32;
/** Tokens that may wait for their verdict; beyond that one is refused at once. */
const MAX_WAITING = 20_000;

/** One token to judge, with all that the judgement rests on. */
export interface Verification extends Rules {
  readonly token: string;
  readonly now: EpochMs;
}

/** Has a thread do a task; does it again on another, up to `tries` times, if that dies. */
export type SendTask = (
  task: VerifyTask,
  tries?: number,
) => Promise<readonly VerifyResult[] | undefined>;

interface Waiting {
  readonly token: string;
  readonly now: EpochMs;
  readonly verdict: PromiseWithResolvers<TimedVerdict>;
}

/**
 * Hands tokens to the worker threads, all that come in during one turn of the event loop in
 * one message: a message costs this thread more than the token in it, and new tokens come in
 * bursts, when a node starts or its tokens rotate. The rules go to each thread once.
 */
export class VerifyBatches {
  readonly #send: SendTask;
  #rules: Rules | undefined;
  #rulesId = 0;
  #next: Waiting[] = [];
  #waiting = 0;

  constructor(send: SendTask) {
    this.#send = send;
  }

  /**
   * Judges a token.
   *
   * @throws WorkerError when no thread could, or what the threads failed with.
   */
  verify({ token, now, keys, expected }: Verification): Promise<TimedVerdict> {
    if (this.#waiting >= MAX_WAITING) {
      return Promise.reject(new WorkerError('too many tokens wait to be verified'));
    }
    if (this.#rules?.keys?.id !== keys?.id || this.#rules?.expected !== expected) {
      this.#flush();
      this.#rules = { keys, expected };
      this.#rulesId += 1;
    }
    const verdict = Promise.withResolvers<TimedVerdict>();
    this.#waiting += 1;
    this.#next.push({ token, now, verdict });
    if (this.#next.length >= MAX_BATCH) this.#flush();
    // Runs once all sockets that have something to read have been read.
    else if (this.#next.length === 1) setImmediate(() => this.#flush());
    return verdict.promise;
  }

  #flush(): void {
    const [batch, rules, id] = [this.#next, this.#rules, this.#rulesId];
    if (batch.length === 0 || rules === undefined) return;
    this.#next = [];
    void this.#judge(batch, rules, id).finally(() => {
      this.#waiting -= batch.length;
    });
  }

  async #judge(batch: readonly Waiting[], rules: Rules, id: number): Promise<void> {
    if (batch.length > 1) {
      try {
        settle(batch, await this.#ask(batch, rules, id, 1));
        return;
      } catch {
        // One of them may be the reason; it is not to take the others along.
      }
    }
    for (const one of batch) {
      try {
        settle([one], await this.#ask([one], rules, id));
      } catch (error) {
        one.verdict.reject(error);
      }
    }
  }

  async #ask(
    batch: readonly Waiting[],
    rules: Rules,
    rulesId: number,
    tries?: number,
  ): Promise<readonly VerifyResult[]> {
    const task = {
      tokens: batch.map(({ token }) => token),
      nows: batch.map(({ now }) => now),
      rulesId,
    };
    const judged = (await this.#send(task, tries)) ?? (await this.#send({ ...task, rules }, tries));
    if (judged === undefined) throw new WorkerError('the thread has no rules');
    return judged;
  }
}

function settle(batch: readonly Waiting[], judged: readonly VerifyResult[]): void {
  for (const [index, { verdict }] of batch.entries()) {
    const one = judged[index];
    if (one === undefined || 'failure' in one) {
      verdict.reject(new WorkerError(one?.failure ?? 'no verdict'));
    } else {
      verdict.resolve(one);
    }
  }
}
