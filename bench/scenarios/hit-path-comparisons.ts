import { type Spread, spread } from '../harness/statistics.ts';
import type { HitSeries } from './hit-path-figures.ts';
import type { HitTurn, ServerName } from './hit-path-turn.ts';

/** Our program with more turned on than by default. */
export const EXTRAS: readonly ServerName[] = ['traced', 'redis', 'token'];

/** A server's figures beside another's, turn by turn. */
export interface Comparison {
  readonly server: ServerName;
  readonly other: ServerName;
  readonly connection: HitSeries['connection'];
  readonly load: HitSeries['load'];
  /**
   * Requests a second, of the turns that the load did not bound; undefined where it bounded half
   * of them or more, or nothing was answered.
   */
  readonly rate: Spread | undefined;
  /** CPU time for a request: the other's part of this server's. */
  readonly cpu: Spread | undefined;
}

/**
 * Compares what took turns with each other.
 *
 * @param what - The broker beside `others`, or the broker with `extras` beside the plain one.
 */
export function compare(series: readonly HitSeries[], what: 'others' | 'extras'): Comparison[] {
  return series.flatMap((mine) =>
    series
      .filter(
        (other) =>
          other.connection === mine.connection &&
          other.load === mine.load &&
          isPair(mine.server, other.server, what),
      )
      .map((other) => comparison(mine, other)),
  );
}

function isPair(mine: ServerName, other: ServerName, what: 'others' | 'extras'): boolean {
  if (what === 'extras') return EXTRAS.includes(mine) && other === 'broker';
  return mine === 'broker' && other !== 'broker' && !EXTRAS.includes(other);
}

function comparison(mine: HitSeries, other: HitSeries): Comparison {
  const pairs = mine.turns.map((turn, index) => [turn, other.turns[index] as HitTurn] as const);
  // A turn that the load bounded says nothing of its server; most of them have to.
  const telling = pairs.filter(([turn, beside]) => !turn.boundByLoad && !beside.boundByLoad);
  const bound = telling.length * 2 <= pairs.length;
  const rates = telling.map(([turn, beside]) => turn.requestsPerSecond / beside.requestsPerSecond);
  const cpus = pairs.map(
    ([turn, beside]) =>
      (beside.cpuMicroseconds ?? Number.NaN) / (turn.cpuMicroseconds ?? Number.NaN),
  );
  return {
    server: mine.server,
    other: other.server,
    connection: mine.connection,
    load: mine.load,
    rate: bound ? undefined : spreadOfFinite(rates),
    cpu: spreadOfFinite(cpus),
  };
}

/** A ratio to a server that has answered nothing is none. */
function spreadOfFinite(values: readonly number[]): Spread | undefined {
  return values.every(Number.isFinite) ? spread(values) : undefined;
}
