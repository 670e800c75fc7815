import type { BenchConfig } from '../config/config.ts';
import { percentile } from '../harness/statistics.ts';
import { VARIANT_LABEL } from '../harness/target.ts';
import { distribution, shareBySecond } from '../report/distribution.ts';
import { count, milliseconds, percent } from '../report/format.ts';
import type { ScenarioReport } from '../scenario.ts';
import type { StormFigures } from './storm.ts';

/** AWS's bar for the 99.9th percentile of all tries. */
const BAR_MS = 1_000;

/** Success, latency and calls by variant. */
export function stormReport(
  figures: readonly StormFigures[],
  plan: BenchConfig['storm'],
): ScenarioReport {
  const shared = figures.find(({ variant }) => variant === 'service-account');
  const baseline = figures.find(({ variant }) => variant === 'token');
  const headlines: string[] = [];
  if (shared !== undefined && baseline !== undefined) {
    headlines.push(
      `AWS's scale test: ${percent(successOf(shared))} of the pods succeed, p99.9 ${worst(shared)} ` +
        `against a bar of 1 s; in token scope ${percent(successOf(baseline))}`,
    );
  }
  return {
    headlines,
    tables: [
      {
        title: `storm: ${count(plan.pods)} pods at ${plan.perSecond}/s, one try of ${milliseconds(plan.patienceMs)}, quota ${plan.quota.rate}/s`,
        columns: ['', 'succeeded', 'p50', 'p99', 'p99.9', 'bar of 1 s', 'calls', 'throttled'],
        rows: figures.map((one) => [
          VARIANT_LABEL[one.variant],
          percent(successOf(one)),
          ...[50, 99].map((part) => at(one, part)),
          worst(one),
          p999(one) < BAR_MS ? 'passed' : 'missed',
          count(one.calls),
          count(one.throttled),
        ]),
        notes: ['Percentiles are of all tries; one that failed counts as longer than any other.'],
      },
    ],
    charts: [
      {
        kind: 'lines',
        title: 'The storm: part of the pods that got credentials, by the second they started in',
        x: { label: 'time', unit: 's' },
        y: { label: 'pods with credentials', unit: 'percent', max: 1 },
        lines: figures.map(({ variant, tries }) => ({
          label: VARIANT_LABEL[variant],
          colour: variant,
          points: shareBySecond(tries.map(({ at: begun, ok }) => ({ at: begun, good: ok }))),
        })),
      },
      {
        kind: 'lines',
        title: 'The storm: how long the pods waited that got credentials',
        x: { label: 'percentile', scale: 'percentile' },
        y: { label: 'waited', unit: 'ms', scale: 'log' },
        limit: { value: BAR_MS, label: 'AWS’s bar for p99.9: 1 s' },
        lines: figures.map(({ variant, tries }) => ({
          label: VARIANT_LABEL[variant],
          colour: variant,
          points: distribution(tries.filter(({ ok }) => ok).map(({ took }) => took)),
        })),
      },
    ],
    figures: figures.map(({ tries, ...one }) => ({
      ...one,
      p50: p(tries, 50),
      p99: p(tries, 99),
      p999: p(tries, 99.9),
    })),
  };
}

function successOf({ succeeded, pods }: StormFigures): number {
  return succeeded / pods;
}

function at({ tries }: StormFigures, part: number): string {
  const value = p(tries, part);
  return value === Number.POSITIVE_INFINITY ? 'failed' : milliseconds(value);
}

function worst(one: StormFigures): string {
  return at(one, 99.9);
}

function p999({ tries }: StormFigures): number {
  return p(tries, 99.9);
}

function p(tries: StormFigures['tries'], part: number): number {
  const times = tries.map(({ ok, took }) => (ok ? took : Number.POSITIVE_INFINITY));
  return percentile(
    times.toSorted((left, right) => left - right),
    part,
  );
}
