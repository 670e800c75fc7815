import type { BenchConfig } from '../config/config.ts';
import { percentile } from '../harness/statistics.ts';
import { VARIANT_LABEL } from '../harness/variants.ts';
import { distribution, shareByTime } from '../report/distribution.ts';
import { count, milliseconds, percent } from '../report/format.ts';
import type { ScenarioReport } from '../report/results.ts';
import { medianOf, overRounds } from '../report/rounds.ts';
import type { StormFigures, StormRound } from './storm-figures.ts';

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
      `AWS's scale test: ${percent(succeeded(shared))} of the pods succeed, p99.9 ` +
        `${waited(p999(shared))} against a bar of 1 s; in token scope ${percent(succeeded(baseline))}`,
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
          overRounds(one.rounds.map(success), percent),
          ...[50, 99, 99.9].map((part) =>
            overRounds(
              one.rounds.map((round) => ofAllTries(round, part)),
              waited,
            ),
          ),
          p999(one) < BAR_MS ? 'passed' : 'missed',
          overRounds(
            one.rounds.map(({ calls }) => calls),
            count,
          ),
          overRounds(
            one.rounds.map(({ throttled }) => throttled),
            count,
          ),
        ]),
        notes: ['Percentiles are of all tries; one that failed counts as longer than any other.'],
      },
    ],
    charts: [
      {
        kind: 'lines',
        title: 'The storm: part of the pods that got credentials, by when they started',
        x: { label: 'time', unit: 's' },
        y: { label: 'pods with credentials', unit: 'percent', max: 1 },
        lines: figures.map(({ variant, rounds }) => ({
          label: VARIANT_LABEL[variant],
          colour: variant,
          points: shareByTime(
            triesOf(rounds).map(({ at, ok }) => ({ at, good: ok })),
            slotWidth(plan),
          ),
        })),
      },
      {
        kind: 'lines',
        title: 'The storm: how long the pods waited that got credentials',
        x: { label: 'percentile', scale: 'percentile' },
        y: { label: 'waited', unit: 'ms', scale: 'log' },
        limit: { value: BAR_MS, label: 'AWS’s bar for p99.9: 1 s' },
        lines: figures.map(({ variant, rounds }) => ({
          label: VARIANT_LABEL[variant],
          colour: variant,
          points: distribution(
            triesOf(rounds)
              .filter(({ ok }) => ok)
              .map(({ took }) => took),
          ),
        })),
      },
    ],
    figures: figures.map(({ variant, rounds }) => ({
      variant,
      rounds: rounds.map((round) => ({
        pods: round.tries.length,
        succeeded: round.tries.filter(({ ok }) => ok).length,
        calls: round.calls,
        throttled: round.throttled,
        p50: ofAllTries(round, 50),
        p99: ofAllTries(round, 99),
        p999: ofAllTries(round, 99.9),
      })),
    })),
  };
}

/** A second, or what divides a short storm into ten parts. Milliseconds. */
function slotWidth({ pods, perSecond }: BenchConfig['storm']): number {
  return Math.min(1_000, (pods / perSecond) * 100);
}

function triesOf(rounds: readonly StormRound[]) {
  return rounds.flatMap(({ tries }) => tries);
}

function success({ tries }: StormRound): number {
  return tries.filter(({ ok }) => ok).length / tries.length;
}

function succeeded({ rounds }: StormFigures): number {
  return medianOf(rounds, success) ?? 0;
}

function p999({ rounds }: StormFigures): number {
  return medianOf(rounds, (round) => ofAllTries(round, 99.9)) ?? Number.POSITIVE_INFINITY;
}

function waited(value: number): string {
  return value === Number.POSITIVE_INFINITY ? 'failed' : milliseconds(value);
}

function ofAllTries({ tries }: StormRound, part: number): number {
  const times = tries.map(({ ok, took }) => (ok ? took : Number.POSITIVE_INFINITY));
  return percentile(
    times.toSorted((left, right) => left - right),
    part,
  );
}
