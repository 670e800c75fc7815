import type { AssumeRoleOutcome } from '../workers/assume-role.ts';
import { isOfToken } from './failure.ts';
import type { UnansweredCall } from './unanswered-calls.ts';

/** The late answer that is expected next. */
interface Expected extends PromiseWithResolvers<AssumeRoleOutcome> {
  readonly arrived: AbortController;
  outcome: AssumeRoleOutcome | undefined;
}

/**
 * The calls with one token that a flight no longer waits for. EKS Auth may still answer one of
 * them: credentials that come late are as good as any, and so is a refusal.
 */
export class OvertakenCalls {
  #expected = expected();

  /** Resolves with the first late answer that grants or refuses credentials; never rejects. */
  get answer(): Promise<AssumeRoleOutcome> {
    return this.#expected.promise;
  }

  /** Aborted when {@link answer} resolves: another call need not wait for its turn then. */
  get signal(): AbortSignal {
    return this.#expected.arrived.signal;
  }

  /** What {@link answer} has resolved with; undefined until then. */
  get answered(): AssumeRoleOutcome | undefined {
    return this.#expected.outcome;
  }

  /** Gives {@link answered}, and from then on expects the next late answer. */
  take(): AssumeRoleOutcome | undefined {
    const { outcome } = this.#expected;
    if (outcome !== undefined) this.#expected = expected();
    return outcome;
  }

  /**
   * Adds a call that is overtaken.
   *
   * @param answer - What the call resolves with; it must not reject.
   * @param call - Is told when the call is answered after all.
   */
  add(answer: Promise<AssumeRoleOutcome>, call: Pick<UnansweredCall, 'end'>): void {
    void answer.then((outcome) => {
      if (!outcome.ok && !isOfToken(outcome.failure)) return;
      call.end(true);
      const { arrived, resolve } = this.#expected;
      this.#expected.outcome ??= outcome;
      resolve(outcome);
      arrived.abort();
    });
  }
}

function expected(): Expected {
  const { promise, resolve, reject } = Promise.withResolvers<AssumeRoleOutcome>();
  return { promise, resolve, reject, arrived: new AbortController(), outcome: undefined };
}
