import { spread } from '../harness/statistics.ts';
import { PERCENTILES } from '../load/http-load.ts';
import type { BarChart, LineChart } from '../report/chart.ts';
import { count, countSpread, milliseconds, percent, ratio } from '../report/format.ts';
import type { ScenarioReport } from '../report/results.ts';
import { medianOf } from '../report/rounds.ts';
import type { Table } from '../report/table.ts';
import { type Comparison, compare, EXTRAS } from './hit-path-comparisons.ts';
import type { HitPathSetting, HitSeries } from './hit-path-figures.ts';
import type { HitTurn, ServerName } from './hit-path-turn.ts';

type Connection = HitSeries['connection'];

const MODE: Readonly<Record<Connection, string>> = {
  'keep-alive': 'keep-alive',
  close: 'a connection per request',
};

const SERVER: Readonly<Record<ServerName, string>> = {
  broker: 'broker',
  traced: 'broker with tracing on',
  redis: 'broker with Redis',
  token: 'broker in token scope',
  bare: 'bare node:http',
  nginx: 'nginx, return 200',
  peer: 'peer',
};

/** Puts the turns into tables: ratios first. */
export function hitPathReport(
  series: readonly HitSeries[],
  setting: HitPathSetting,
): ScenarioReport {
  const beside = compare(series, 'others');
  const extras = compare(series, 'extras');
  const modes = [...new Set(series.map(({ connection }) => connection))];
  return {
    headlines: [...headlines(beside), ...modes.flatMap((mode) => extrasHeadline(extras, mode))],
    tables: [
      {
        title: 'hit-path: the broker beside other servers (1 = as fast)',
        ...ratioRows(beside),
        notes: notes(setting),
      },
      {
        title: 'hit-path: the broker with more turned on, beside the broker as it is (1 = as fast)',
        ...ratioRows(extras),
        notes: [
          'tracing on: the SDK is loaded, samples as many as by default, and exports to a receiver here.',
          'token scope: the key of the existing agent up to 0.1.x.',
          ...setting.missing.map((reason) => `${reason}.`),
        ],
      },
      figureTable(series, setting.peer),
    ],
    charts: [cpuChart(series), ...modes.map((mode) => latencyChart(series, mode))],
    figures: { ...setting, comparisons: [...beside, ...extras], series },
  };
}

function headlines(comparisons: readonly Comparison[]): string[] {
  return comparisons
    .filter(({ other, load }) => other === 'bare' && load === 'wrk')
    .map(
      ({ connection, rate, cpu }) =>
        `${MODE[connection]}, beside a bare node:http server: ` +
        `${rate === undefined ? 'bound by load' : `${ratio(rate)} of its requests/s`}` +
        `${cpu === undefined ? '' : `, ${ratio(cpu)} by CPU per request`}`,
    );
}

function extrasHeadline(comparisons: readonly Comparison[], mode: Connection): string[] {
  const told = comparisons
    .filter(({ connection, load }) => connection === mode && load === 'wrk')
    .map(({ server, rate, cpu }) => {
      const figure = rate ?? cpu;
      const means = rate === undefined ? ' by CPU' : '';
      return `${SERVER[server].replace('broker ', '')} ${figure === undefined ? '–' : ratio(figure)}${means}`;
    });
  return told.length === 0 ? [] : [`${MODE[mode]}, beside the broker as it is: ${told.join(', ')}`];
}

function ratioRows(comparisons: readonly Comparison[]): Pick<Table, 'columns' | 'rows'> {
  return {
    columns: ['', 'load', 'requests/s', 'by CPU per request'],
    rows: comparisons.map(({ server, other, connection, load, rate, cpu }) => [
      `${EXTRAS.includes(server) ? SERVER[server] : `beside ${SERVER[other]}`}, ${MODE[connection]}`,
      load,
      rate === undefined ? 'bound by load' : ratio(rate),
      cpu === undefined ? '–' : ratio(cpu),
    ]),
  };
}

function notes({ tokenBytes, bodyBytes, pinned }: HitPathSetting): string[] {
  return [
    'Median of the turns (least–most), each turn beside the other server’s in the same round; turns',
    'that the load bounded are left out, and where they are half of them or more, it says so.',
    `Tokens of ${count(tokenBytes)} bytes (signed with RS256, as EKS does it), bodies of ${count(bodyBytes)} bytes.`,
    ...(pinned ? [] : ['Nothing was pinned: this machine has one core, or no taskset.']),
  ];
}

function figureTable(series: readonly HitSeries[], withPeer: boolean): Table {
  return {
    title: 'hit-path: figures',
    columns: [
      '',
      'load',
      'requests/s',
      'turns bound by load',
      'CPU µs per request',
      'p50',
      'p99',
      'p99.9',
      'server core',
      'load core',
      'others, cores',
      ...(withPeer ? ['refused', 'failed'] : []),
    ],
    rows: series.map(({ server, connection, load, turns }) => [
      `${SERVER[server]}, ${MODE[connection]}`,
      load,
      countSpread(spread(turns.map((turn) => turn.requestsPerSecond))),
      count(turns.filter(({ boundByLoad }) => boundByLoad).length),
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
      median(
        turns,
        (turn) => turn.disturbance,
        (value) => value.toFixed(2),
      ),
      ...(withPeer
        ? [
            median(turns, ({ refused, requests }) => refused / Math.max(1, requests), percent),
            median(turns, (turn) => turn.failed, count),
          ]
        : []),
    ]),
    notes: [
      'others: how much of the two cores went to processes that have no part in this.',
      ...(withPeer
        ? [
            'Requests/s are those that were answered with credentials; refused is the part that was answered',
            'with a status of 400 or more, failed are those without an answer. Latencies are of all answers.',
          ]
        : []),
    ],
  };
}

function median(
  turns: readonly HitTurn[],
  read: (turn: HitTurn) => number | undefined,
  write: (value: number) => string,
): string {
  const value = medianOf(turns, read);
  return value === undefined ? '–' : write(value);
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
      label: MODE[mode],
      bars: shown
        .filter((one) => one.connection === mode && one.load === load)
        .map(({ server, turns }) => ({
          label: SERVER[server],
          colour: server,
          value: spread(turns.map((turn) => turn.cpuMicroseconds as number)).median,
        })),
    })),
  };
}

/** Latencies at the load's own pace: each connection asks again as soon as it was answered. */
function latencyChart(series: readonly HitSeries[], mode: Connection): LineChart {
  const [load = 'wrk'] = series.map((one) => one.load);
  const shown = series.filter(
    (one) => one.connection === mode && one.load === load && !EXTRAS.includes(one.server),
  );
  return {
    kind: 'lines',
    title: `Latency of hits under full load, ${MODE[mode]}`,
    x: { label: 'percentile', scale: 'percentile' },
    y: { label: 'latency', unit: 'ms', scale: 'log' },
    lines: shown.map(({ server, turns }) => ({
      label: SERVER[server],
      colour: server,
      points: PERCENTILES.map((part, index) => [
        part,
        spread(turns.map(({ distribution }) => distribution[index] ?? Number.NaN)).median,
      ]),
    })),
  };
}
