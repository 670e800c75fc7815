import type { EpochMs } from '../clock.ts';
import type { Rules, TimedVerdict, VerifyResult, VerifyTask } from './verify.ts';
import { WorkerError } from './worker-error.ts';

/**
 * Tokens of one message at most. Each costs a worker about 0.1 ms, and all of a message are
 * answered together.
 */
const MAX_BATCH = 32;
/**
 * Messages that may be under way for each thread: one that it works on, and one that it goes on
 * with. This thread takes in all that have come back before it turns to its sockets again.
 */
const MAX_PER_THREAD = 2;
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

/** What goes out in one message. */
interface Batch {
  readonly tokens: readonly Waiting[];
  readonly rules: Rules;
  readonly rulesId: number;
}

/**
 * Hands tokens to the worker threads, all that come in during one turn of the event loop in
 * one message: a message costs this thread more than the token in it, and new tokens come in
 * bursts, when a node starts or its tokens rotate. The rules go to each thread once.
 *
 * A burst is handed over a few messages a turn, so that verdicts do not come back all at once
 * either: each is followed by an answer, and hits on other connections wait meanwhile.
 */
export class VerifyBatches {
  readonly #send: SendTask;
  readonly #maxUnderWay: number;
  #underWay = 0;
  readonly #batches: Batch[] = [];
  #rules: Rules | undefined;
  #rulesId = 0;
  #next: Waiting[] = [];
  #waiting = 0;

  /** @param threads - How many there are that `send` hands a task to. */
  constructor(send: SendTask, threads: number) {
    this.#send = send;
    this.#maxUnderWay = MAX_PER_THREAD * threads;
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
    const [tokens, rules, rulesId] = [this.#next, this.#rules, this.#rulesId];
    if (tokens.length === 0 || rules === undefined) return;
    this.#next = [];
    this.#batches.push({ tokens, rules, rulesId });
    this.#sendSome();
  }

  #sendSome(): void {
    while (this.#underWay < this.#maxUnderWay) {
      const batch = this.#batches.shift();
      if (batch === undefined) return;
      this.#underWay += 1;
      void this.#judge(batch).finally(() => {
        this.#waiting -= batch.tokens.length;
        // A verdict of one that went out at once might come back in this very turn.
        setImmediate(() => {
          this.#underWay -= 1;
          this.#sendSome();
        });
      });
    }
  }

  async #judge({ tokens, rules, rulesId }: Batch): Promise<void> {
    if (tokens.length > 1) {
      try {
        settle(tokens, await this.#ask(tokens, rules, rulesId, 1));
        return;
      } catch {
        // One of them may be the reason; it is not to take the others along.
      }
    }
    for (const one of tokens) {
      try {
        settle([one], await this.#ask([one], rules, rulesId));
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
