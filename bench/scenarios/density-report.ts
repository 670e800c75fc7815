import { VARIANT_LABEL } from '../harness/target.ts';
import type { Chart } from '../report/chart.ts';
import { count, milliseconds } from '../report/format.ts';
import type { ScenarioReport } from '../scenario.ts';
import type { Combination, DensityFigures } from './density.ts';

/** Calls and times by combination and variant. */
export function densityReport(figures: readonly DensityFigures[]): ScenarioReport {
  const largest = figures.findLast(({ variant }) => variant === 'service-account');
  const baseline = figures.findLast(({ variant }) => variant === 'token');
  return {
    headlines: largest && baseline ? [headline(largest, baseline)] : [],
    tables: [
      {
        title: 'density: every process of every pod asks at once, and again with new tokens',
        columns: [
          'pods × processes, service accounts',
          'calls',
          'to the last',
          'after rotation: calls',
          'to the last',
          'told 503',
          'resident',
        ],
        rows: figures.map((one) => [
          `${label(one)} – ${VARIANT_LABEL[one.variant]}`,
          count(one.first.calls),
          milliseconds(one.first.lastAfterMs),
          count(one.rotated.calls),
          milliseconds(one.rotated.lastAfterMs),
          count(one.first.told503 + one.rotated.told503),
          one.residentMiB === undefined ? '–' : `${one.residentMiB.toFixed(0)} MiB`,
        ]),
        notes: ['Every answer was checked: credentials of the role of the pod’s service account.'],
      },
    ],
    charts: [callsChart(figures)],
    figures,
  };
}

function headline(shared: DensityFigures, baseline: DensityFigures): string {
  const calls = allCalls(shared);
  const before = allCalls(baseline);
  return (
    `${label(shared)}: ${(before / calls).toFixed(0)}x fewer calls to EKS Auth than in token ` +
    `scope (${count(calls)}, not ${count(before)}), for one wave and one rotation of all tokens`
  );
}

function allCalls({ first, rotated }: DensityFigures): number {
  return first.calls + rotated.calls;
}

function label({ pods, processes, serviceAccounts }: Combination): string {
  return `${pods} × ${processes}, ${serviceAccounts}`;
}

function callsChart(figures: readonly DensityFigures[]): Chart {
  return {
    kind: 'lines',
    title: 'Calls to EKS Auth from one node: all pods start, then all tokens rotate once',
    x: { label: 'pods on the node' },
    y: { label: 'calls to EKS Auth' },
    lines: [...new Set(figures.map(({ variant }) => variant))].map((variant) => ({
      label: VARIANT_LABEL[variant],
      colour: variant,
      points: figures
        .filter((one) => one.variant === variant)
        .map((one) => [one.pods, allCalls(one)] as const)
        .toSorted(([left], [right]) => left - right),
    })),
  };
}
