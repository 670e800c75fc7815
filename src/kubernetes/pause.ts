import type { Clock, DurationMs } from '../clock.ts';

/** How long to wait between tries, and when not to. */
export interface PauseOptions {
  readonly clock: Clock;
  /** A number from 0 to 1. */
  readonly random: () => number;
  /** Ends the wait. */
  readonly signal: AbortSignal;
}

/** Waits for half of a time and up to the whole of it, so that nodes do not try in step. */
export async function pauseUpTo(
  most: DurationMs,
  { clock, random, signal }: PauseOptions,
): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = clock.setTimeout(resolve, (most * (1 + random())) / 2);
  timer.unref();
  const wake = () => resolve();
  signal.addEventListener('abort', wake, { once: true });
  await promise;
  signal.removeEventListener('abort', wake);
  clock.clearTimeout(timer);
}
