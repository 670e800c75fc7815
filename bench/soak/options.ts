import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import type { DurationMs } from '../../src/clock.ts';

/** How the soak is called. */
export const USAGE = `npm run soak -- [options]

  --minutes N   how long; decimals will do (default 10)
  --seed N      repeats what another run did at random (default: a new one, which is printed)
`;

/** What was asked for. */
export interface SoakOptions {
  readonly duration: DurationMs;
  readonly seed: number;
}

/**
 * Reads the command line.
 *
 * @returns Undefined when help is asked for.
 * @throws TypeError that says what is wrong.
 */
export function readOptions(args: readonly string[]): SoakOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '10' },
      seed: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const minutes = /^\d+(\.\d+)?$/.test(values.minutes) ? Number(values.minutes) : Number.NaN;
  if (!(minutes > 0)) throw new TypeError('--minutes must be a number above zero');
  const { seed } = values;
  if (seed !== undefined && !/^\d{1,10}$/.test(seed)) {
    throw new TypeError('--seed must be a whole number');
  }
  return {
    duration: minutes * 60_000,
    seed: seed === undefined ? randomInt(1_000_000_000) : Number(seed),
  };
}
