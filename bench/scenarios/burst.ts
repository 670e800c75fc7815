import { setTimeout as pause } from 'node:timers/promises';
import type { RemotePod } from '../../src/simulator/control-client.ts';
import { BrokenRunError } from '../harness/broken-run.ts';
import { type Broker, startBroker } from '../harness/broker.ts';
import { startCluster } from '../harness/cluster.ts';
import { createServiceAccounts, morePods } from '../harness/pods.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { percentile } from '../harness/statistics.ts';
import { podAddress } from '../load/one-try.ts';
import { startLoad } from '../load/start-load.ts';
import type { Hit, SteadyHits } from '../load/steady-hits.ts';
import { count, milliseconds } from '../report/format.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { type LateHit, withLateness } from './burst-lateness.ts';
import { askAll } from './hit-path-servers.ts';

/** The least that is asked for of hits during a burst. */
const ASKED_FOR_MS = 50;

/** What is drawn and counted of hits in some time. */
interface HitFigures {
  readonly hits: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly most: number;
  /** The same p99.9 and most without what the process of the load was late by itself. */
  readonly ownLess: { readonly p999: number; readonly most: number };
  /** How late the process of the load was. */
  readonly generatorLate: { readonly p99: number; readonly most: number };
}

/** Hits go on at a steady rate while thousands of new tokens come in at once. */
export const burst: Scenario = {
  name: 'burst',
  shows: 'whether hits wait while many new tokens are verified',
  async run(bench) {
    const { newTokens } = bench.config.burst;
    const { load, began, from, to, brokerLate, prioritised } = await measure(bench);
    const hits = withLateness(load.hits, load.late);
    const calm = figuresOf(hits, load.late, ({ at }) => at < from);
    const during = figuresOf(hits, load.late, ({ at }) => at >= from && at <= to);
    if (during.hits === 0) throw new BrokenRunError('no hit was answered during the burst');
    const rows = [
      ['before the burst', calm],
      [`during a burst of ${count(newTokens)} new tokens`, during],
    ] as const;
    return {
      headlines: [
        `p99.9 of hits during a burst of ${count(newTokens)} new tokens: ${milliseconds(during.p999)} as measured, ` +
          `${milliseconds(during.ownLess.p999)} without what the load itself was late`,
      ],
      tables: [
        {
          title: 'burst: latency of hits',
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
          rows: rows.map(([label, one]) => [
            label,
            count(one.hits),
            ...[one.p50, one.p99, one.p999, one.most].map(milliseconds),
            ...[one.ownLess.p999, one.ownLess.most].map(milliseconds),
            ...[one.generatorLate.p99, one.generatorLate.most].map(milliseconds),
          ]),
          notes: [
            `The burst took ${milliseconds(to - from)} until its last token was answered. ${brokerLateNote(brokerLate)}`,
            `Hits are measured in a process of their own, which shares its core with the ${count(newTokens)} clients and`,
            `the simulated EKS${prioritised ? ', and goes before them' : ''}: how late that process was is in its figures, and is`,
            'taken off in the columns “less load’s own”.',
          ],
        },
      ],
      charts: [
        {
          kind: 'lines',
          title: `Hits while ${count(newTokens)} new tokens arrive at once: the slowest of every 50 ms`,
          x: { label: 'time', unit: 's' },
          y: { label: 'slowest hit', unit: 'ms' },
          limit: { value: ASKED_FOR_MS, label: `asked for: ${ASKED_FOR_MS} ms` },
          spans: [{ from: (from - began) / 1_000, to: (to - began) / 1_000, label: 'burst' }],
          lines: [
            { label: 'as measured', colour: 'nginx', points: slowest(load.hits, began) },
            {
              label: 'without the load’s lateness',
              colour: 'broker',
              points: slowest(
                hits.map(({ at, ownLess }) => ({ at, took: ownLess })),
                began,
              ),
            },
          ],
        },
      ],
      figures: { newTokens, burstMs: to - from, before: calm, during, brokerLate, prioritised },
    };
  },
};

/** What a burst came to; moments in milliseconds since the epoch. */
interface Burst {
  readonly load: SteadyHits;
  readonly began: number;
  readonly from: number;
  readonly to: number;
  readonly brokerLate: { readonly p99: number; readonly most: number } | undefined;
  readonly prioritised: boolean;
}

async function measure(bench: Bench): Promise<Burst> {
  const { config, cores, progress } = bench;
  const plan = config.burst;
  const { latency, quota } = plan;
  await using cluster = await startCluster({ seed: config.seed, latency, quota });
  const { simulator } = cluster;
  // The hits come from one address; its budget is counted, and never used up.
  await using broker = await startBroker(bench, simulator, {
    core: cores?.target,
    sampling: 'default',
    env: { POD_IDENTITY_BROKER_MAX_POD_QPS: '1000000' },
  });
  progress('creating pods');
  const serviceAccounts = await createServiceAccounts(simulator, plan.serviceAccounts);
  const known = await morePods(simulator, serviceAccounts, plan.pods);
  const warm = await askAll(broker.address, known);
  await checkAnswers(simulator, warm);
  const fresh = await morePods(simulator, serviceAccounts, plan.newTokens);
  using hitting = await startLoad('first');
  using clients = await startLoad('last');
  progress(`hits at ${plan.hitsPerSecond}/s, and a burst of ${plan.newTokens} new tokens`);
  const began = now();
  const loading = hitting.run({
    kind: 'steady',
    target: broker.address,
    tokens: known.map(({ token }) => token),
    bodies: warm.map(({ body }) => body),
    connections: plan.connections,
    perSecond: plan.hitsPerSecond,
    seconds: plan.seconds,
  });
  loading.catch(() => undefined);
  await pause((plan.seconds * 1_000) / 3);
  // What was before does not count.
  await lateness(broker);
  const from = now();
  const results = await clients.run({
    kind: 'clients',
    target: broker.address,
    clients: fresh.map(({ token }, index) => ({ ...NEW_POD, token, from: podAddress(index) })),
  });
  const to = now();
  const brokerLate = await lateness(broker);
  const load = await loading;
  const refused = results.find(({ status }) => status !== 200);
  if (refused !== undefined) {
    const { status, failure, body } = refused;
    throw new BrokenRunError(`a new token was answered ${status}: ${failure ?? body}`);
  }
  const answers = results.map(({ body }, index) => ({ pod: fresh[index] as RemotePod, body }));
  await checkAnswers(simulator, answers);
  if (load.failed + load.refused + load.wrong > 0) {
    throw new BrokenRunError(
      `hits: ${load.failed} failed, ${load.refused} refused, ${load.wrong} wrong`,
    );
  }
  return { load, began, from, to, brokerLate, prioritised: hitting.prioritised };
}

const NEW_POD = { startAt: 0, patience: 30_000, tries: 5, pause: 1_000 };

/** Milliseconds since the epoch, with fractions, the same in all processes. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

/** By how much the broker's main thread was late since this was last asked, by its own metrics. */
async function lateness(broker: Broker) {
  const metrics = await broker.metrics();
  const [p99, most] = [99, 100].map((part) =>
    metrics.get(`pod_identity_broker_event_loop_delay_seconds{percentile="${part}"}`),
  );
  if (p99 === undefined || most === undefined) return undefined;
  return { p99: p99 * 1_000, most: most * 1_000 };
}

function brokerLateNote(late: Burst['brokerLate']): string {
  if (late === undefined) return '';
  return `The broker’s own main thread was late by ${milliseconds(late.p99)} at p99 meanwhile, ${milliseconds(late.most)} at most.`;
}

function figuresOf(
  hits: readonly LateHit[],
  late: readonly Hit[],
  chosen: (one: { readonly at: number }) => boolean,
): HitFigures {
  const took = ascending(hits.filter(chosen).map((one) => one.took));
  const own = ascending(hits.filter(chosen).map(({ ownLess }) => ownLess));
  const generator = ascending(late.filter(chosen).map((one) => one.took));
  return {
    hits: took.length,
    p50: percentile(took, 50),
    p99: percentile(took, 99),
    p999: percentile(took, 99.9),
    most: percentile(took, 100),
    ownLess: { p999: percentile(own, 99.9), most: percentile(own, 100) },
    generatorLate: { p99: percentile(generator, 99), most: percentile(generator, 100) },
  };
}

function ascending(values: readonly number[]): number[] {
  return values.toSorted((left, right) => left - right);
}

function slowest(hits: readonly Hit[], began: number): [number, number][] {
  const width = 50;
  const slots = new Map<number, number>();
  for (const { at, took } of hits) {
    const slot = Math.floor((at - began) / width);
    slots.set(slot, Math.max(slots.get(slot) ?? 0, took));
  }
  return [...slots]
    .toSorted(([left], [right]) => left - right)
    .map(([slot, took]) => [(slot * width) / 1_000, took]);
}
