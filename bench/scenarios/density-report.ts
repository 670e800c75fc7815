import { VARIANT_LABEL } from '../harness/variants.ts';
import type { Chart } from '../report/chart.ts';
import { count, milliseconds } from '../report/format.ts';
import type { ScenarioReport } from '../report/results.ts';
import { medianOf, overRounds } from '../report/rounds.ts';
import type { Combination, DensityFigures, DensityRound } from './density-figures.ts';

/** Calls and times by combination and variant. */
export function densityReport(figures: readonly DensityFigures[]): ScenarioReport {
  const largest = figures.findLast(({ variant }) => variant === 'service-account');
  const baseline = figures.findLast(({ variant }) => variant === 'token');
  const cell = (
    { rounds }: DensityFigures,
    read: (round: DensityRound) => number | undefined,
    write: (value: number) => string = count,
  ) => overRounds(rounds.map(read), write);
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
          'without credentials',
          'resident',
        ],
        rows: figures.map((one) => [
          `${label(one)} – ${VARIANT_LABEL[one.variant]}`,
          cell(one, ({ first }) => first.calls),
          cell(one, ({ first }) => first.lastAfterMs, milliseconds),
          cell(one, ({ rotated }) => rotated.calls),
          cell(one, ({ rotated }) => rotated.lastAfterMs, milliseconds),
          cell(one, ({ first, rotated }) => first.told503 + rotated.told503),
          cell(one, ({ first, rotated }) => first.unserved + rotated.unserved),
          cell(
            one,
            ({ residentMiB }) => residentMiB,
            (mib) => `${mib.toFixed(0)} MiB`,
          ),
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
  const { pods, processes, serviceAccounts } = shared;
  return (
    `${count(pods)} pods × ${processes} processes, ${serviceAccounts} service accounts: ${(before / calls).toFixed(0)}x fewer calls to EKS Auth than in token ` +
    `scope (${count(calls)}, not ${count(before)}), for one wave and one rotation of all tokens`
  );
}

function allCalls({ rounds }: DensityFigures): number {
  return medianOf(rounds, ({ first, rotated }) => first.calls + rotated.calls) ?? Number.NaN;
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
