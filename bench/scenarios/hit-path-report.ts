import { type Spread, spread } from '../harness/statistics.ts';
import { PERCENTILES } from '../load/http-load.ts';
import type { BarChart, Colour, LineChart } from '../report/chart.ts';
import { count, countSpread, milliseconds, percent, ratio } from '../report/format.ts';
import type { Table } from '../report/table.ts';
import type { ScenarioReport } from '../scenario.ts';
import type { HitSeries } from './hit-path.ts';
import type { HitTurn } from './hit-path-turn.ts';

/** What the figures were measured with. */
export interface HitPathSetting {
  readonly tokenBytes: number;
  readonly bodyBytes: number;
  readonly pinned: boolean;
}

/** A server's figures beside another's, turn by turn. */
interface Comparison {
  readonly server: string;
  readonly beside: string;
  readonly connection: string;
  readonly load: string;
  /** Requests a second; undefined where the load was the bound. */
  readonly rate: Spread | undefined;
  /** CPU time for a request: the other's part of this server's. */
  readonly cpu: Spread | undefined;
}

const MODE: Readonly<Record<string, string>> = {
  'keep-alive': 'keep-alive',
  close: 'a connection per request',
};

/** Puts the turns into tables: ratios first. */
export function hitPathReport(
  series: readonly HitSeries[],
  setting: HitPathSetting,
): ScenarioReport {
  const comparisons = compare(series);
  const headlines = comparisons
    .filter(
      ({ server, beside, load }) => server === 'broker' && beside === 'bare' && load === 'wrk',
    )
    .map(
      ({ connection, rate, cpu }) =>
        `${MODE[connection]}: ${rate === undefined ? 'bound by load' : `${ratio(rate)} of the requests/s of a bare node:http server`}` +
        `${cpu === undefined ? '' : `, ${ratio(cpu)} by CPU per request`}`,
    );
  return {
    headlines,
    tables: [ratioTable(comparisons, setting), figureTable(series)],
    charts: [cpuChart(series), ...CHARTED.map((mode) => latencyChart(series, mode))],
    figures: { ...setting, comparisons, series },
  };
}

function compare(series: readonly HitSeries[]): Comparison[] {
  const comparisons: Comparison[] = [];
  for (const mine of series) {
    for (const beside of series) {
      if (beside.connection !== mine.connection || beside.load !== mine.load) continue;
      if (mine === beside || mine.server !== 'broker') continue;
      const pairs = mine.turns.map(
        (turn, index) => [turn, beside.turns[index] as HitTurn] as const,
      );
      const bound = pairs.some(([mineTurn, other]) => mineTurn.boundByLoad || other.boundByLoad);
      const cpus = pairs.map(
        ([mineTurn, other]) => (other.cpuMicroseconds ?? NaN) / (mineTurn.cpuMicroseconds ?? NaN),
      );
      comparisons.push({
        server: mine.server,
        beside: beside.server,
        connection: mine.connection,
        load: mine.load,
        rate: bound
          ? undefined
          : spread(pairs.map(([turn, other]) => turn.requestsPerSecond / other.requestsPerSecond)),
        cpu: cpus.some(Number.isNaN) ? undefined : spread(cpus),
      });
    }
  }
  return comparisons;
}

function ratioTable(comparisons: readonly Comparison[], setting: HitPathSetting): Table {
  return {
    title: 'hit-path: the broker beside other servers (1 = as fast)',
    columns: ['', 'load', 'requests/s', 'by CPU per request'],
    rows: comparisons.map(({ beside, connection, load, rate, cpu }) => [
      `beside ${beside}, ${MODE[connection]}`,
      load,
      rate === undefined ? 'bound by load' : ratio(rate),
      cpu === undefined ? '–' : ratio(cpu),
    ]),
    notes: [
      'Median of the turns (least–most), each turn beside the other server’s in the same round.',
      `Tokens of ${count(setting.tokenBytes)} bytes, bodies of ${count(setting.bodyBytes)} bytes.`,
      ...(setting.pinned ? [] : ['Nothing was pinned: this machine has one core, or no taskset.']),
    ],
  };
}

function figureTable(series: readonly HitSeries[]): Table {
  return {
    title: 'hit-path: figures',
    columns: [
      '',
      'load',
      'requests/s',
      'CPU µs/request',
      'p50',
      'p99',
      'p99.9',
      'server core',
      'load core',
      'others',
    ],
    rows: series.map(({ server, connection, load, turns }) => [
      `${server}, ${MODE[connection]}`,
      load,
      `${countSpread(spread(turns.map((turn) => turn.requestsPerSecond)))}${turns.some(({ boundByLoad }) => boundByLoad) ? ' bound by load' : ''}`,
      median(
        turns,
        (turn) => turn.cpuMicroseconds,
        (value) => value.toFixed(1),
      ),
      median(turns, (turn) => turn.p50, milliseconds),
      median(turns, (turn) => turn.p99, milliseconds),
      median(turns, (turn) => turn.p999, milliseconds),
      median(turns, (turn) => turn.targetBusy, percent),
      median(turns, (turn) => turn.loadBusy, percent),
      median(turns, (turn) => turn.disturbance, percent),
    ]),
    notes: ['others: what processes without a part in this took of the two cores, in cores.'],
  };
}

function median(
  turns: readonly HitTurn[],
  read: (turn: HitTurn) => number | undefined,
  write: (value: number) => string,
): string {
  const values = turns.map(read).filter((value) => value !== undefined);
  return values.length === 0 ? '–' : write(spread(values).median);
}

function cpuChart(series: readonly HitSeries[]): BarChart {
  const shown = series.filter(({ turns }) => turns.every((turn) => turn.cpuMicroseconds));
  const loads = new Set(shown.map(({ load }) => load));
  const [load] = loads.has('wrk') ? ['wrk'] : [...loads];
  const modes = [...new Set(shown.map(({ connection }) => connection))];
  return {
    kind: 'bars',
    title: 'CPU time that one answer costs the server',
    value: { label: 'µs of CPU per request' },
    groups: modes.map((mode) => ({
      label: MODE[mode] ?? mode,
      bars: shown
        .filter((one) => one.connection === mode && one.load === load)
        .map(({ server, turns }) => ({
          label: SERVER[server] ?? server,
          colour: server as Colour,
          value: spread(turns.map((turn) => turn.cpuMicroseconds as number)).median,
        })),
    })),
  };
}

/** Latencies at the load's own pace: each connection asks again as soon as it was answered. */
function latencyChart(series: readonly HitSeries[], mode: string): LineChart {
  const [load = 'wrk'] = series.map((one) => one.load);
  const shown = series.filter((one) => one.connection === mode && one.load === load);
  return {
    kind: 'lines',
    title: `Latency of hits under full load, ${MODE[mode]}`,
    x: { label: 'percentile', scale: 'percentile' },
    y: { label: 'latency', unit: 'ms', scale: 'log' },
    lines: shown.map(({ server, turns }) => ({
      label: SERVER[server] ?? server,
      colour: server as Colour,
      points: PERCENTILES.map((part, index) => [
        part,
        spread(turns.map(({ distribution }) => distribution[index] ?? Number.NaN)).median,
      ]),
    })),
  };
}

const CHARTED = ['keep-alive', 'close'];

const SERVER: Readonly<Record<string, string>> = {
  broker: 'broker',
  bare: 'bare node:http',
  nginx: 'nginx, return 200',
};
