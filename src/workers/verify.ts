import type { EpochMs } from '../clock.ts';
import type { ClaimExpectations } from '../tokens/claims.ts';
import { type KeySet, type Verdict, verifyToken } from '../tokens/verify.ts';

/** A token to judge, with all that the judgement rests on. */
export interface VerifyTask {
  readonly token: string;
  readonly keys: KeySet | undefined;
  readonly expected: ClaimExpectations;
  readonly now: EpochMs;
}

/** Task: {@link verifyToken} on a worker thread. */
export function verify(task: VerifyTask): Promise<Verdict> {
  return verifyToken(task.token, task.keys, task.expected, task.now);
}
