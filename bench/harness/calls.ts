import type { EpochMs } from '../../src/clock.ts';
import type { AuditEvent } from '../../src/simulator/audit.ts';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import { NAMESPACE } from './pods.ts';

/** How often EKS Auth was asked for the tokens of some service accounts. */
export interface CallCounts {
  /** All, whatever they were answered. */
  readonly calls: number;
  /** Those of them that it threw out for its quota. */
  readonly throttled: number;
}

/** What came between two counts. */
export function callsBetween(before: CallCounts, after: CallCounts): CallCounts {
  return {
    calls: after.calls - before.calls,
    throttled: after.throttled - before.throttled,
  };
}

/** Counts calls by service account, so that variants that run at once are told apart. */
export async function countCalls(
  simulator: RemoteSimulator,
  serviceAccounts: readonly string[],
): Promise<CallCounts> {
  const counts = (await simulator.counts()).serviceAccounts;
  let calls = 0;
  let throttled = 0;
  for (const name of serviceAccounts) {
    const one = counts[`${NAMESPACE}/${name}`];
    calls += one?.calls ?? 0;
    throttled += one?.errors.ThrottlingException ?? 0;
  }
  return { calls, throttled };
}

/** The calls for these service accounts since a moment, oldest first. */
export async function callsSince(
  simulator: RemoteSimulator,
  serviceAccounts: readonly string[],
  since: EpochMs,
): Promise<AuditEvent[]> {
  const wanted = new Set(serviceAccounts);
  const events = await simulator.audit.events({ operation: 'AssumeRoleForPodIdentity' });
  return events.filter(
    ({ time, serviceAccount }) => time >= since && wanted.has(serviceAccount ?? ''),
  );
}

/**
 * A curve of how many had happened by when, as the mean of some rounds.
 *
 * @param rounds - Times of each round, in milliseconds; the curve is in seconds.
 */
export function cumulative(
  rounds: readonly (readonly number[])[],
  end: number,
): [number, number][] {
  const sorted = rounds.flat().toSorted((left, right) => left - right);
  const points: [number, number][] = [[0, 0]];
  const step = Math.max(1, Math.floor(sorted.length / 200));
  for (const [index, time] of sorted.entries()) {
    if ((index + 1) % step === 0 || index + 1 === sorted.length) {
      points.push([Math.max(0, time) / 1_000, (index + 1) / rounds.length]);
    }
  }
  points.push([end / 1_000, sorted.length / rounds.length]);
  return points;
}
