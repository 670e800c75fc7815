import autocannon from 'autocannon';
import type { RemotePod } from '../../src/simulator/control-client.ts';
import { BrokenRunError } from '../harness/broken-run.ts';
import { startBroker } from '../harness/broker.ts';
import { startCluster } from '../harness/cluster.ts';
import { createServiceAccounts, morePods } from '../harness/pods.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { percentile } from '../harness/statistics.ts';
import { POD_HOST, podAddress, tryOnce } from '../load/one-try.ts';
import { startClients } from '../load/start-clients.ts';
import { count, milliseconds } from '../report/format.ts';
import type { Bench, Scenario } from '../scenario.ts';

/** A hit, and when it was answered since the load began. */
interface Hit {
  readonly at: number;
  readonly took: number;
}

/** The least that is asked for of hits during a burst. */
const ASKED_FOR_MS = 50;

/** Hits go on at a steady rate while thousands of new tokens come in at once. */
export const burst: Scenario = {
  name: 'burst',
  shows: 'whether hits wait while many new tokens are verified',
  async run(bench) {
    const { hits, from, to, newTokens } = await measure(bench);
    const during = latencies(hits.filter(({ at }) => at >= from && at <= to));
    const calm = latencies(hits.filter(({ at }) => at < from));
    if (during.length === 0) throw new BrokenRunError('no hit was answered during the burst');
    const rows = [
      ['before the burst', calm],
      [`during a burst of ${count(newTokens)} new tokens`, during],
    ] as const;
    return {
      headlines: [
        `p99.9 of hits during a burst of ${count(newTokens)} new tokens: ${milliseconds(percentile(during, 99.9))}`,
      ],
      tables: [
        {
          title: 'burst: latency of hits',
          columns: ['', 'hits', 'p50', 'p99', 'p99.9', 'most'],
          rows: rows.map(([label, values]) => [
            label,
            count(values.length),
            ...[50, 99, 99.9, 100].map((part) => milliseconds(percentile(values, part))),
          ]),
          notes: [`The burst took ${milliseconds(to - from)} until its last token was answered.`],
        },
      ],
      charts: [
        {
          kind: 'lines',
          title: `Hits while ${count(newTokens)} new tokens arrive at once: the slowest of every 50 ms`,
          x: { label: 'time', unit: 's' },
          y: { label: 'slowest hit', unit: 'ms' },
          limit: { value: ASKED_FOR_MS, label: `asked for: ${ASKED_FOR_MS} ms` },
          spans: [{ from: from / 1_000, to: to / 1_000, label: 'burst' }],
          lines: [{ label: 'hits', colour: 'broker', points: slowest(hits) }],
        },
      ],
      figures: { newTokens, burstMs: to - from, before: summary(calm), during: summary(during) },
    };
  },
};

async function measure(bench: Bench) {
  const { config, cores, program, progress } = bench;
  const plan = config.burst;
  await using cluster = await startCluster({ seed: config.seed, latency: plan.latency });
  const { simulator } = cluster;
  // The hits come from one address; its budget is counted, and never used up.
  await using broker = await startBroker(simulator, {
    program,
    core: cores?.target,
    env: { POD_IDENTITY_BROKER_MAX_POD_QPS: '1000000' },
  });
  progress('creating pods');
  const serviceAccounts = await createServiceAccounts(simulator, plan.serviceAccounts);
  const known = await morePods(simulator, serviceAccounts, plan.pods);
  const expected = new Set<string>();
  for (const { token } of known) {
    const { status, body } = await tryOnce(broker.address, token, { patience: 10_000 });
    if (status !== 200) throw new BrokenRunError(`a pod was answered ${status}: ${body}`);
    expected.add(body);
  }
  const fresh = await morePods(simulator, serviceAccounts, plan.newTokens);
  using clients = await startClients();
  progress(`hits at ${plan.hitsPerSecond}/s, and a burst of ${plan.newTokens} new tokens`);
  const began = performance.now();
  const hits: Hit[] = [];
  const run = autocannon({
    url: `http://127.0.0.1:${broker.address.port}`,
    connections: plan.connections,
    overallRate: plan.hitsPerSecond,
    duration: plan.seconds,
    sampleInt: 100,
    verifyBody: (body) => expected.has(body),
    requests: known.map(({ token }) => ({
      path: '/v1/credentials',
      headers: { Authorization: token, Host: POD_HOST },
    })),
  });
  run.on('response', (_client: unknown, _status: number, _bytes: number, took: number) => {
    hits.push({ at: performance.now() - began, took });
  });
  await new Promise((resolve) => setTimeout(resolve, (plan.seconds * 1_000) / 3));
  const from = performance.now() - began;
  const results = await clients.run({
    target: broker.address,
    clients: fresh.map(({ token }, index) => ({ ...NEW_POD, token, from: podAddress(index) })),
  });
  const to = performance.now() - began;
  const { errors, non2xx, mismatches } = await run;
  const refused = results.find(({ status }) => status !== 200);
  if (refused !== undefined) {
    const { status, failure, body } = refused;
    throw new BrokenRunError(`a new token was answered ${status}: ${failure ?? body}`);
  }
  const answers = results.map(({ body }, index) => ({ pod: fresh[index] as RemotePod, body }));
  await checkAnswers(simulator, answers);
  if (errors + non2xx + mismatches > 0) {
    throw new BrokenRunError(`hits: ${errors} failed, ${non2xx} refused, ${mismatches} wrong`);
  }
  return { hits, from, to, newTokens: plan.newTokens };
}

const NEW_POD = { startAt: 0, patience: 30_000, tries: 5, pause: 1_000 };

function latencies(hits: readonly Hit[]): number[] {
  return hits.map(({ took }) => took).toSorted((left, right) => left - right);
}

function summary(sorted: readonly number[]) {
  const [p50, p99, p999, most] = [50, 99, 99.9, 100].map((part) => percentile(sorted, part));
  return { hits: sorted.length, p50, p99, p999, most };
}

function slowest(hits: readonly Hit[]): [number, number][] {
  const width = 50;
  const slots = new Map<number, number>();
  for (const { at, took } of hits) {
    const slot = Math.floor(at / width);
    slots.set(slot, Math.max(slots.get(slot) ?? 0, took));
  }
  return [...slots]
    .toSorted(([left], [right]) => left - right)
    .map(([slot, took]) => [(slot * width) / 1_000, took]);
}
