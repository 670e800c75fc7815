import { setTimeout as pause } from 'node:timers/promises';
import type { DurationMs } from '../../src/clock.ts';

/** Waits; returns early, without an error, when the signal says so. */
export async function sleep(duration: DurationMs, signal: AbortSignal): Promise<void> {
  await pause(Math.max(0, duration), undefined, { signal }).catch(() => undefined);
}
