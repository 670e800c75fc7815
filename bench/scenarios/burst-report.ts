import type { BenchConfig } from '../config/config.ts';
import type { Chart } from '../report/chart.ts';
import { count, milliseconds } from '../report/format.ts';
import type { ScenarioReport } from '../report/results.ts';
import type { Table } from '../report/table.ts';
import type { BurstRun, HitKind } from './burst-run.ts';

/** What p99.9 of hits is to stay below during a burst, on connections that are open. */
const ASKED_FOR_MS = 50;

/** How late the broker's main thread was during the burst, by its own metrics; milliseconds. */
export interface Lateness {
  readonly p99: number;
  readonly most: number;
}

/** The same burst on the broker and on a bare server. */
export interface BurstRuns {
  readonly broker: BurstRun;
  readonly bare: BurstRun;
  readonly brokerLate: Lateness | undefined;
}

const SERVERS = [
  ['broker', 'this broker'],
  ['bare', 'bare node:http server'],
] as const;

/** Latencies of both kinds of hits, on the broker beside the bare server. */
export function burstReport(runs: BurstRuns, plan: BenchConfig['burst']): ScenarioReport {
  const tokens = `${count(plan.newTokens)} new tokens`;
  const { open, connecting } = runs.broker.hits;
  return {
    headlines: [
      `p99.9 of hits on open connections during a burst of ${tokens}: ${milliseconds(open.during.p999)} as measured, ` +
        `${milliseconds(open.during.ownLess.p999)} without what the load itself was late; asked for: below ${ASKED_FOR_MS} ms`,
      `p99.9 of hits that open a connection each meanwhile: ${milliseconds(connecting.during.p999)}; ` +
        `${milliseconds(runs.bare.hits.connecting.during.p999)} on a bare node:http server`,
    ],
    tables: [
      {
        ...table(
          `burst: hits on ${plan.connections} open connections, ${plan.hitsPerSecond}/s`,
          'open',
          runs,
        ),
        notes: openNotes(runs, tokens),
      },
      {
        ...table(
          `burst: hits that open a connection each, ${plan.connectingPerSecond}/s`,
          'connecting',
          runs,
        ),
        notes: [
          'A connection that is opened during the burst waits behind those of the burst until the server accepts it,',
          'and Node.js accepts one in each turn of its event loop: on the bare server that is all there is to wait for.',
        ],
      },
    ],
    charts: [
      chart(
        `Hits on open connections while ${tokens} arrive at once: the slowest of every 50 ms`,
        'open',
        runs,
      ),
      chart(
        `Hits that open a connection each meanwhile: the slowest of every 50 ms`,
        'connecting',
        runs,
      ),
    ],
    figures: {
      newTokens: plan.newTokens,
      brokerLate: runs.brokerLate,
      servers: SERVERS.map(([server]) => {
        const { hits, times, prioritised } = runs[server];
        const figures = (kind: HitKind) => ({
          before: hits[kind].before,
          during: hits[kind].during,
        });
        return {
          server,
          burstMs: times.to - times.from,
          prioritised,
          open: figures('open'),
          connecting: figures('connecting'),
        };
      }),
    },
  };
}

function table(title: string, kind: HitKind, runs: BurstRuns): Table {
  return {
    title,
    columns: [
      '',
      'hits',
      'p50',
      'p99',
      'p99.9',
      'most',
      'p99.9 less load’s own',
      'most less load’s own',
      'load late, p99',
      'load late, most',
    ],
    rows: SERVERS.flatMap(([server, name]) =>
      (['before', 'during'] as const).map((when) => {
        const one = runs[server].hits[kind][when];
        return [
          `${name}, ${when} the burst`,
          count(one.hits),
          ...[one.p50, one.p99, one.p999, one.most].map(milliseconds),
          ...[one.ownLess.p999, one.ownLess.most].map(milliseconds),
          ...[one.generatorLate.p99, one.generatorLate.most].map(milliseconds),
        ];
      }),
    ),
  };
}

function openNotes({ broker, bare, brokerLate }: BurstRuns, tokens: string): string[] {
  const [took, bareTook] = [broker, bare].map(({ times }) => milliseconds(times.to - times.from));
  const first = broker.prioritised && bare.prioritised ? ', and go before them' : '';
  return [
    `The burst took ${took} until its last token was answered, ${bareTook} on the bare server. ${lateNote(brokerLate)}`,
    `Hits are measured in processes of their own, which share their core with the clients of the ${tokens}`,
    `and the simulated EKS${first}: how late such a process was is in its figures, and is`,
    'taken off in the columns “less load’s own”.',
  ];
}

function lateNote(late: Lateness | undefined): string {
  if (late === undefined) return '';
  return `The broker’s own main thread was late by ${milliseconds(late.p99)} at p99 meanwhile, ${milliseconds(late.most)} at most.`;
}

function chart(title: string, kind: HitKind, runs: BurstRuns): Chart {
  const { began, from, to } = runs.broker.times;
  return {
    kind: 'lines',
    title,
    x: { label: 'time', unit: 's' },
    y: { label: 'slowest hit', unit: 'ms' },
    // It was asked for of hits, not of accepting connections.
    ...(kind === 'open' && {
      limit: { value: ASKED_FOR_MS, label: `asked for: ${ASKED_FOR_MS} ms` },
    }),
    spans: [{ from: (from - began) / 1_000, to: (to - began) / 1_000, label: 'burst' }],
    lines: SERVERS.map(([server, label]) => ({
      label,
      colour: server,
      points: runs[server].hits[kind].slowest,
    })),
  };
}
