import type { Hit } from '../load/steady-hits.ts';

/** A hit, and how long it took without what its measuring process was late by. */
export interface LateHit extends Hit {
  readonly ownLess: number;
}

/** Less than that is a timer's own inaccuracy. */
const MIN_LATENESS = 0.5;

/**
 * Takes from every hit the time in which the process that measured it did not get to run: it
 * may have been answered meanwhile, or have been sent late.
 *
 * @param late - Each says that the process did not run for `took` up to `at`; in order.
 */
export function withLateness(hits: readonly Hit[], late: readonly Hit[]): LateHit[] {
  const gaps = late.filter(({ took }) => took >= MIN_LATENESS);
  return hits.map(({ at, took }) => {
    const sentAt = at - took;
    let lost = 0;
    for (const gap of gaps) {
      const overlap = Math.min(at, gap.at) - Math.max(sentAt, gap.at - gap.took);
      if (overlap > 0) lost += overlap;
    }
    return { at, took, ownLess: Math.max(0, took - lost) };
  });
}
