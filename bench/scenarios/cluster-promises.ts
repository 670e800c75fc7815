import type { BenchConfig } from '../config/config.ts';
import { BrokenRunError } from '../harness/broken-run.ts';

/** All pods of all nodes asking at once. */
export interface WaveFigures {
  readonly calls: number;
  readonly lastAfterMs: number;
  /** The node whose broker was killed. */
  readonly killed: number | undefined;
}

/** Sessions over some lifetimes. */
export interface RenewalFigures {
  readonly seconds: number;
  /** Of all sessions, besides their first fetch. */
  readonly calls: number;
  /** Of one session. */
  readonly most: number;
  readonly fewest: number;
  /** The shortest time between two calls for one session; infinite where there were none. */
  readonly leastApartMs: number;
}

/** The soonest that a renewal comes, as a part of the time after which it is due. */
const SOONEST = 0.8;

/**
 * Holds calls of nodes that share their sessions against what sharing promises: one for each
 * session, one more at most for a broker that dies, and one renewal a lifetime.
 *
 * @throws BrokenRunError about the first promise that was not kept.
 */
export function checkCluster(
  {
    rollout,
    death,
    renewals,
  }: {
    readonly rollout: Pick<WaveFigures, 'calls'>;
    readonly death: Pick<WaveFigures, 'calls'>;
    readonly renewals: RenewalFigures;
  },
  {
    serviceAccounts,
    renewAfterSeconds,
    lifetimes,
  }: Pick<BenchConfig['cluster'], 'serviceAccounts' | 'renewAfterSeconds' | 'lifetimes'>,
): void {
  const sessions = `${serviceAccounts} sessions that all nodes share`;
  if (rollout.calls !== serviceAccounts) {
    throw new BrokenRunError(`${rollout.calls} calls for ${sessions}`);
  }
  if (death.calls < serviceAccounts || death.calls > serviceAccounts + 1) {
    throw new BrokenRunError(`${death.calls} calls for ${sessions}, one broker killed`);
  }
  const { leastApartMs, fewest, seconds } = renewals;
  if (leastApartMs < renewAfterSeconds * SOONEST * 1_000) {
    throw new BrokenRunError(
      `a session was fetched twice within ${Math.round(leastApartMs)} ms, due every ${renewAfterSeconds} s`,
    );
  }
  if (fewest < lifetimes) {
    throw new BrokenRunError(
      `a session was renewed ${fewest} times in ${Math.round(seconds)} s, due every ${renewAfterSeconds} s`,
    );
  }
}
