import type { EpochMs } from '../clock.ts';
import type { WorkTimes } from '../telemetry/tracing.ts';
import type { ClaimExpectations } from '../tokens/claims.ts';
import { type KeySet, type Verdict, verifyToken } from '../tokens/verify.ts';

/** A token to judge, with all that the judgement rests on. */
export interface VerifyTask {
  readonly token: string;
  readonly keys: KeySet | undefined;
  readonly expected: ClaimExpectations;
  readonly now: EpochMs;
}

/** A verdict, and when the thread came to it. */
export type TimedVerdict = Verdict & { readonly times?: WorkTimes | undefined };

/** Task: {@link verifyToken} on a worker thread. */
export async function verify(task: VerifyTask): Promise<TimedVerdict> {
  const startedAt = performance.timeOrigin + performance.now();
  const verdict = await verifyToken(task.token, task.keys, task.expected, task.now);
  const endedAt = performance.timeOrigin + performance.now();
  return { ...verdict, times: { startedAt, endedAt } };
}
