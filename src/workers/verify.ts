import type { EpochMs } from '../clock.ts';
import type { WorkTimes } from '../telemetry/tracing.ts';
import type { ClaimExpectations } from '../tokens/claims.ts';
import { type KeySet, type Verdict, verifyToken } from '../tokens/verify.ts';
import { recordHeartbeat } from './heartbeats.ts';

/** What tokens are judged by. */
export interface Rules {
  /** Undefined: there are none, and nothing is proven. */
  readonly keys: KeySet | undefined;
  /** What tokens have to say. */
  readonly expected: ClaimExpectations;
}

/** Tokens to judge by the same rules. */
export interface VerifyTask {
  readonly tokens: readonly string[];
  /** The time to judge each by. */
  readonly nows: readonly EpochMs[];
  /** Which rules; a later set has a greater number. */
  readonly rulesId: number;
  /** The rules themselves, for a thread that does not have them. */
  readonly rules?: Rules | undefined;
}

/** A verdict, and when the thread came to it. */
export type TimedVerdict = Verdict & { readonly times?: WorkTimes | undefined };

/** What came of one token: `failure` is a defect of ours, and says nothing of the token. */
export type VerifyResult = TimedVerdict | { readonly failure: string };

/** The newest rules that this thread was given. */
let known: { readonly id: number; readonly rules: Rules } | undefined;

/**
 * Task: {@link verifyToken} on a worker thread, for each token of the task.
 *
 * @returns Undefined where this thread does not have the task's rules: then it wants them too.
 */
export async function verify(task: VerifyTask): Promise<VerifyResult[] | undefined> {
  const { tokens, nows, rulesId, rules = known?.id === rulesId ? known.rules : undefined } = task;
  if (rules === undefined) return undefined;
  if (known === undefined || rulesId > known.id) known = { id: rulesId, rules };
  return await Promise.all(
    tokens.map((token, index) => judge(token, rules, nows[index] as EpochMs)),
  );
}

async function judge(
  token: string,
  { keys, expected }: Rules,
  now: EpochMs,
): Promise<VerifyResult> {
  const startedAt = performance.timeOrigin + performance.now();
  try {
    const verdict = await verifyToken(token, keys, expected, now);
    return {
      ...verdict,
      times: { startedAt, endedAt: performance.timeOrigin + performance.now() },
    };
  } catch (error) {
    return { failure: error instanceof Error ? error.message : String(error) };
  } finally {
    recordHeartbeat();
  }
}
