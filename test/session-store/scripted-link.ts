import type { CircuitState } from '../../src/session-store/circuit.ts';
import type { Purpose, Script } from '../../src/session-store/redis-link.ts';

/** A script that was sent and has not been answered yet. */
export interface SentScript extends Omit<Script<unknown>, 'read'> {
  readonly purpose: Purpose;
  readonly limit: number;
  /** Answers as Redis does: what is read of it is for the script to say. */
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

  script<T>(purpose: Purpose, limit: number, script: Script<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const { read, ...sent } = script;
    this.sent.push({
      ...sent,
      purpose,
      limit,
      answer(value) {
        try {
          resolve(read(value));
        } catch (error) {
          reject(error);
        }
      },
      fail: (message) => reject(new Error(message)),
    });
    return promise;
  }

  of(purpose: Purpose): SentScript[] {
    return this.sent.filter((sent) => sent.purpose === purpose);
  }
}
