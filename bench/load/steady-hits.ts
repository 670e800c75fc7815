import autocannon from 'autocannon';
import type { DurationMs, EpochMs } from '../../src/clock.ts';
import { type Address, POD_HOST } from './one-try.ts';

/** Requests for credentials at a steady rate, whether or not the answers keep up. */
export interface SteadyLoad {
  readonly target: Address;
  /** Sent in turn. */
  readonly tokens: readonly string[];
  /** Bodies that are right; any other answer counts as wrong. */
  readonly bodies: readonly string[];
  readonly connections: number;
  readonly perSecond: number;
  readonly seconds: number;
}

/** A hit, and when it was answered. Milliseconds, `at` since the epoch. */
export interface Hit {
  readonly at: EpochMs;
  readonly took: DurationMs;
}

/** What came of a steady load. */
export interface SteadyHits {
  readonly hits: readonly Hit[];
  /** How late this process itself was, sampled all the time: what it measured is off by that. */
  readonly late: readonly Hit[];
  readonly failed: number;
  readonly refused: number;
  readonly wrong: number;
}

/** How often a process looks whether it is late. */
const LOOK_EVERY: DurationMs = 2;

/** Runs a load with autocannon. */
export async function steadyHits(load: SteadyLoad): Promise<SteadyHits> {
  const now = () => performance.timeOrigin + performance.now();
  const right = new Set(load.bodies);
  const hits: Hit[] = [];
  const late: Hit[] = [];
  let expected = now() + LOOK_EVERY;
  const looking = setInterval(() => {
    const at = now();
    late.push({ at, took: Math.max(0, at - expected) });
    expected = at + LOOK_EVERY;
  }, LOOK_EVERY);
  const run = autocannon({
    url: `http://${load.target.host}:${load.target.port}`,
    connections: load.connections,
    overallRate: load.perSecond,
    duration: load.seconds,
    sampleInt: 100,
    verifyBody: (body) => right.has(body),
    requests: load.tokens.map((token) => ({
      path: '/v1/credentials',
      headers: { Authorization: token, Host: POD_HOST },
    })),
  });
  run.on('response', (_client: unknown, _status: number, _bytes: number, took: number) => {
    hits.push({ at: now(), took });
  });
  const { errors, non2xx, mismatches } = await run;
  clearInterval(looking);
  return { hits, late, failed: errors, refused: non2xx, wrong: mismatches };
}
