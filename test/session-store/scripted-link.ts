import type { CircuitState } from '../../src/session-store/circuit.ts';
import type { Purpose, Script } from '../../src/session-store/redis-link.ts';

/** A script that was sent and has not been answered yet. */
export interface SentScript extends Script {
  readonly purpose: Purpose;
  readonly limit: number;
  answer(value: unknown): void;
  fail(message: string): void;
}

/** A way to a Redis that answers when and what the test says. */
export class ScriptedLink {
  state: CircuitState = 'closed';
  readonly sent: SentScript[] = [];

  /** Sent last. */
  get last(): SentScript {
    return this.sent.at(-1) as SentScript;
  }

  script(purpose: Purpose, limit: number, script: Script): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.sent.push({
      ...script,
      purpose,
      limit,
      answer: resolve,
      fail: (message) => reject(new Error(message)),
    });
    return promise;
  }

  of(purpose: Purpose): SentScript[] {
    return this.sent.filter((sent) => sent.purpose === purpose);
  }
}
