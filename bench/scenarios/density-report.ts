import type { Chart } from '../report/chart.ts';
import { count, milliseconds } from '../report/format.ts';
import { SCOPE_LABEL, SCOPES, type ScenarioReport } from '../scenario.ts';
import type { Combination, DensityFigures } from './density.ts';

/** Calls and times by combination and scope. */
export function densityReport(figures: readonly DensityFigures[]): ScenarioReport {
  const largest = figures.findLast(({ scope }) => scope === 'service-account');
  const baseline = figures.findLast(({ scope }) => scope === 'token');
  return {
    headlines: largest && baseline ? [headline(largest, baseline)] : [],
    tables: [
      {
        title: 'density: every process of every pod asks at once, and again with new tokens',
        columns: [
          'pods × processes, service accounts',
          'scope',
          'calls',
          'to the last',
          'after rotation: calls',
          'to the last',
          'told 503',
          'resident',
        ],
        rows: figures.map((one) => [
          label(one),
          SCOPE_LABEL[one.scope],
          count(one.first.calls),
          milliseconds(one.first.lastAfterMs),
          count(one.rotated.calls),
          milliseconds(one.rotated.lastAfterMs),
          count(one.first.told503 + one.rotated.told503),
          `${one.residentMiB.toFixed(0)} MiB`,
        ]),
        notes: ['Every answer was checked: credentials of the role of the pod’s service account.'],
      },
    ],
    charts: [callsChart(figures)],
    figures,
  };
}

function headline(shared: DensityFigures, baseline: DensityFigures): string {
  const calls = shared.first.calls + shared.rotated.calls;
  const before = baseline.first.calls + baseline.rotated.calls;
  return (
    `${label(shared)}: ${(before / calls).toFixed(0)}x fewer calls to EKS Auth ` +
    `(${count(calls)} instead of ${count(before)}) over one wave and one rotation of all tokens`
  );
}

function label({ pods, processes, serviceAccounts }: Combination): string {
  return `${pods} × ${processes}, ${serviceAccounts}`;
}

function callsChart(figures: readonly DensityFigures[]): Chart {
  return {
    kind: 'lines',
    title: 'Calls to EKS Auth for a full node: one wave of all pods, one rotation of all tokens',
    x: { label: 'pods on the node' },
    y: { label: 'calls to EKS Auth', scale: 'log' },
    lines: SCOPES.map((scope) => ({
      label: SCOPE_LABEL[scope],
      colour: scope,
      points: figures
        .filter((one) => one.scope === scope)
        .map(({ pods, first, rotated }) => [pods, first.calls + rotated.calls] as const),
    })),
  };
}
