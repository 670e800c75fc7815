import type { DurationMs } from '../../src/clock.ts';

/** Lifetimes and time-outs of a run: those of production, in minutes instead of hours. */
export interface Timing {
  /** Too short a run to see much; it shows that the soak itself works. */
  readonly brief: boolean;
  /** Of role sessions. They are renewed at two fifths to a half of it. */
  readonly sessionLifetime: DurationMs;
  /** Of sessions of a target role (role chaining). */
  readonly chainedSessionLifetime: DurationMs;
  /** The broker's `--client-wait`, `--attempt-timeout` and `--flight-timeout`. */
  readonly clientWait: DurationMs;
  readonly attemptTimeout: DurationMs;
  readonly flightTimeout: DurationMs;
  /** Between the start and the first trouble. */
  readonly warmUp: DurationMs;
  /** How long EKS Auth is in trouble at a time, from and to. */
  readonly trouble: readonly [DurationMs, DurationMs];
  /** How long it is well after the time that the broker is given to recover. */
  readonly health: readonly [DurationMs, DurationMs];
  /** How often each shared session has to be fetched: in each of its lifetimes at least. */
  readonly minFetches: number;
}

/** Role sessions are served up to 15 s before their end: shorter ones would never be renewed. */
const MIN_LIFETIME: DurationMs = 32_000;

/** Chooses what fits into a run. */
export function timingOf(duration: DurationMs): Timing {
  const brief = duration < 3 * 60_000;
  const sessionLifetime = brief ? MIN_LIFETIME : 60_000;
  return {
    brief,
    sessionLifetime,
    chainedSessionLifetime: brief ? MIN_LIFETIME : 45_000,
    clientWait: 1_900,
    attemptTimeout: 4_000,
    flightTimeout: 15_000,
    warmUp: brief ? Math.min(8_000, duration / 3) : 20_000,
    trouble: brief ? [1_500, 3_000] : [4_000, 12_000],
    health: brief ? [500, 2_000] : [4_000, 9_000],
    minFetches: Math.floor(duration / sessionLifetime),
  };
}
