import type { RemotePod } from '../../src/simulator/control-client.ts';
import { BrokenRunError } from '../harness/broken-run.ts';
import { type Broker, startBroker } from '../harness/broker.ts';
import { startCluster } from '../harness/cluster.ts';
import { createServiceAccounts, morePods } from '../harness/pods.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { startBare } from '../servers/start-bare.ts';
import { burstReport, type Lateness } from './burst-report.ts';
import { type BurstRun, runBurst } from './burst-run.ts';
import { askAll } from './hit-path-servers.ts';

/** Hits go on at a steady rate while thousands of new tokens come in at once. */
export const burst: Scenario = {
  name: 'burst',
  shows: 'whether hits wait while many new tokens are verified',
  async run(bench) {
    const { run, late, bodies } = await onBroker(bench);
    const bare = await onBare(bench, bodies);
    return burstReport({ broker: run, bare, brokerLate: late }, bench.config.burst);
  },
};

/** Bodies by token, in the order of the pods. */
interface Bodies {
  readonly known: ReadonlyMap<string, string>;
  readonly fresh: ReadonlyMap<string, string>;
}

async function onBroker(
  bench: Bench,
): Promise<{ run: BurstRun; late: Lateness | undefined; bodies: Bodies }> {
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
  const known = await askAll(broker.address, await morePods(simulator, serviceAccounts, plan.pods));
  await checkAnswers(simulator, known);
  const fresh = await morePods(simulator, serviceAccounts, plan.newTokens);
  const answered = new Map<string, string>();
  let late: Lateness | undefined;
  progress(`hits at ${plan.hitsPerSecond}/s, and a burst of ${plan.newTokens} new tokens`);
  const run = await runBurst(bench, {
    address: broker.address,
    known: known.map(({ pod, body }) => ({ token: pod.token, body })),
    fresh: fresh.map(({ token }) => token),
    // What was before does not count.
    atStart: async () => void (await lateness(broker)),
    atEnd: async () => {
      late = await lateness(broker);
    },
    check: async (bodies) => {
      const answers = bodies.map((body, index) => ({ pod: fresh[index] as RemotePod, body }));
      await checkAnswers(simulator, answers);
      for (const { pod, body } of answers) answered.set(pod.token, body);
    },
  });
  const before = new Map(known.map(({ pod, body }) => [pod.token, body]));
  return { run, late, bodies: { known: before, fresh: answered } };
}

/** The same on a server that has all answers, and nothing to verify. */
async function onBare(bench: Bench, { known, fresh }: Bodies): Promise<BurstRun> {
  const bodies = Object.fromEntries([...known, ...fresh]);
  await using bare = await startBare(bodies, bench.cores?.target);
  bench.progress('the same on a bare node:http server');
  return await runBurst(bench, {
    address: bare.address,
    known: [...known].map(([token, body]) => ({ token, body })),
    fresh: [...fresh.keys()],
    check: async (answers) => {
      const right = [...fresh.values()];
      if (answers.some((body, index) => body !== right[index])) {
        throw new BrokenRunError('the bare server gave a wrong answer');
      }
    },
  });
}

/** By how much the broker's main thread was late since this was last asked, by its own metrics. */
async function lateness(broker: Broker): Promise<Lateness | undefined> {
  const metrics = await broker.metrics();
  const [p99, most] = [99, 100].map((part) =>
    metrics.get(`pod_identity_broker_event_loop_delay_seconds{percentile="${part}"}`),
  );
  if (p99 === undefined || most === undefined) return undefined;
  return { p99: p99 * 1_000, most: most * 1_000 };
}
