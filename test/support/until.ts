import { setTimeout as pause } from 'node:timers/promises';

/** How long something may take; plenty, for machines that are busy. */
const WITHIN = 30_000;

/**
 * Waits until something holds.
 *
 * @param what - Named in the error, if it does not in time.
 */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string | (() => string),
  within = WITHIN,
): Promise<void> {
  const deadline = performance.now() + within;
  while (!(await holds())) {
    if (performance.now() > deadline) {
      throw new Error(`not in time: ${typeof what === 'string' ? what : what()}`);
    }
    await pause(10);
  }
}
