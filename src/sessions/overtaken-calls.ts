import type { AssumeRoleOutcome } from '../workers/assume-role.ts';
import type { UnansweredCall } from './unanswered-calls.ts';

/** The late answer that is expected next. */
interface Expected extends PromiseWithResolvers<AssumeRoleOutcome> {
  readonly arrived: AbortController;
  outcome: AssumeRoleOutcome | undefined;
}

/**
 * The calls with one token that a flight no longer waits for. EKS Auth may still answer one of
 * them, and credentials that come late are as good as any.
 */
export class OvertakenCalls {
  #expected = expected();

  /** Resolves with the first late answer that grants credentials; never rejects. */
  get grant(): Promise<AssumeRoleOutcome> {
    return this.#expected.promise;
  }

  /** Aborted when {@link grant} resolves: another call need not wait for its turn then. */
  get signal(): AbortSignal {
    return this.#expected.arrived.signal;
  }

  /** What {@link grant} has resolved with; undefined until then. */
  get granted(): AssumeRoleOutcome | undefined {
    return this.#expected.outcome;
  }

  /** Gives {@link granted}, and from then on expects the next late answer. */
  take(): AssumeRoleOutcome | undefined {
    const { outcome } = this.#expected;
    if (outcome !== undefined) this.#expected = expected();
    return outcome;
  }

  /**
   * Adds a call that is overtaken.
   *
   * @param answer - What the call resolves with; it must not reject.
   * @param call - Is told when the call is granted after all.
   */
  add(answer: Promise<AssumeRoleOutcome>, call: Pick<UnansweredCall, 'end'>): void {
    void answer.then((outcome) => {
      if (!outcome.ok) return;
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
