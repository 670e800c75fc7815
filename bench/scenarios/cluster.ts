import { setTimeout as pause } from 'node:timers/promises';
import type { RemotePod, RemoteSimulator } from '../../src/simulator/control-client.ts';
import { BrokenRunError } from '../harness/broken-run.ts';
import { type Broker, startBroker } from '../harness/broker.ts';
import { callsSince, countCalls } from '../harness/calls.ts';
import { startCluster } from '../harness/cluster.ts';
import { createServiceAccounts, inParallel, NAMESPACE } from '../harness/pods.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { type Client, type ClientResult, runClients } from '../load/clients.ts';
import { podAddress, tryOnce } from '../load/one-try.ts';
import { count, seconds as inSeconds, span } from '../report/format.ts';
import { leftOut } from '../report/results.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { NO_REDIS, redisVersion, startRedis } from '../servers/redis.ts';
import { checkCluster, type RenewalFigures, type WaveFigures } from './cluster-promises.ts';

const POD = { startAt: 0, patience: 30_000, tries: 4, pause: 500 } satisfies Partial<Client>;
/** So many processes share two cores here, and Redis has to wait for its turn as well. */
const REDIS_BUDGET_MS = 5_000;
/** Brokers that start at the same time. */
const START_AT_ONCE = 4;
/** How often one pod of each service account on each node asks while renewals are counted. */
const ASKED_EVERY = 1_000;

/** Many brokers that share their sessions, as processes on one machine. */
export const cluster: Scenario = {
  name: 'cluster',
  shows: 'calls to EKS Auth of many nodes that share their sessions in Redis',
  async run(bench) {
    if (redisVersion() === undefined) return leftOut(NO_REDIS);
    const { config, progress } = bench;
    const plan = config.cluster;
    const { latency, quota } = plan;
    await using eks = await startCluster({ seed: config.seed, latency, quota });
    await using redis = await startRedis();
    const { simulator } = eks;
    await using stack = new AsyncDisposableStack();
    const startAll = async (flags: readonly string[]) => {
      progress(`starting ${plan.brokers} brokers`);
      const start = async (node: number) =>
        stack.use(await startNode(bench, simulator, node, flags));
      return await inParallel(plan.brokers, start, START_AT_ONCE);
    };
    const brokers = await startAll([
      ...redis.flags,
      '--redis-sharing=cluster',
      `--redis-budget=${REDIS_BUDGET_MS}ms`,
      `--max-credential-retention-before-renewal=${plan.renewAfterSeconds}s`,
    ]);

    progress('all pods of all nodes ask at once');
    const rollout = await wave(simulator, brokers, plan);
    progress('the same with new service accounts, and one broker dies in mid-fetch');
    const death = await wave(simulator, brokers, plan, true);
    progress(`renewals over ${plan.lifetimes} lifetimes`);
    const living = [...brokers.entries()].filter(([node]) => node !== death.killed);
    const renewals = await renew(simulator, living, plan);
    const figures = { redisBudgetMs: REDIS_BUDGET_MS, rollout, death, renewals };
    checkCluster(figures, plan);
    const accounts = plan.serviceAccounts;
    return {
      headlines: [
        `${plan.brokers} nodes, ${count(plan.pods)} pods at once: ${count(rollout.calls)} calls for ${accounts} service accounts; ${count(death.calls)} with a broker killed in mid-fetch`,
      ],
      tables: [
        {
          title: `cluster: ${plan.brokers} brokers, ${count(plan.pods)} pods of ${accounts} service accounts`,
          columns: ['', 'calls', 'without sharing', 'last pod after'],
          rows: [
            [
              'all pods at once',
              count(rollout.calls),
              count(plan.brokers * accounts),
              span(rollout.lastAfterMs),
            ],
            [
              'a broker killed in mid-fetch',
              count(death.calls),
              count(plan.brokers * accounts),
              span(death.lastAfterMs),
            ],
            [
              `renewals over ${renewals.seconds.toFixed(0)} s, due every ${plan.renewAfterSeconds} s`,
              count(renewals.calls),
              count(renewals.calls * living.length),
              '–',
            ],
          ],
          notes: [
            `The most renewals of one session were ${renewals.most}, the fewest ${renewals.fewest}; they come after four fifths`,
            `of the time at the soonest, here never less than ${inSeconds(renewals.leastApartMs)} apart. Without sharing each node`,
            `makes its own. The brokers run with --redis-budget=${REDIS_BUDGET_MS / 1_000}s instead of 50 ms: they share the`,
            'machine’s cores with each other and with Redis.',
          ],
        },
      ],
      charts: [],
      figures,
    };
  },
};

type Plan = Bench['config']['cluster'];

function startNode(
  bench: Bench,
  simulator: RemoteSimulator,
  node: number,
  flags: readonly string[],
): Promise<Broker> {
  return startBroker(bench, simulator, { env: { NODE_NAME: nodeName(node) }, flags });
}

const nodeName = (node: number) => `node-${node}`;

/**
 * New service accounts; all pods of all nodes ask at once. A broker that is to be killed fetches
 * one of them, and dies before it is done.
 */
async function wave(
  simulator: RemoteSimulator,
  brokers: readonly Broker[],
  { pods: total, serviceAccounts }: Plan,
  killsOne = false,
): Promise<WaveFigures> {
  const accounts = await createServiceAccounts(simulator, serviceAccounts);
  const killed = killsOne ? brokers.length - 1 : undefined;
  const pods = await inParallel(total, (index) => {
    const node = index % brokers.length;
    const account = node === killed ? 0 : Math.floor(index / brokers.length) % accounts.length;
    return simulator.kubelet.createPod({
      namespace: NAMESPACE,
      serviceAccount: accounts[account] as string,
      node: nodeName(node),
    });
  });
  const ask = async (broker: Broker, node: number): Promise<[RemotePod, ClientResult][]> => {
    const own = pods.filter((_, index) => index % brokers.length === node);
    const clients = own.map(({ token }, index) => ({ ...POD, token, from: podAddress(index) }));
    const answers = await runClients(broker.address, clients);
    return own.map((pod, index) => [pod, answers[index] as ClientResult]);
  };
  // The one that dies is the first to ask; its pods die with their node.
  const dying = killed === undefined ? undefined : (brokers[killed] as Broker);
  const lost = dying && ask(dying, killed as number);
  if (dying !== undefined) await killInMidFetch(dying);
  const results = await Promise.all(
    brokers.map((broker, node) => (node === killed ? [] : ask(broker, node))),
  );
  await lost;
  const living = results.flat();
  const failed = living.find(([, { status }]) => status !== 200);
  if (failed !== undefined) throw new BrokenRunError(`a pod was answered ${failed[1].status}`);
  await checkAnswers(
    simulator,
    living.map(([pod, { body }]) => ({ pod, body })),
  );
  return {
    calls: (await countCalls(simulator, accounts)).calls,
    lastAfterMs: Math.max(...living.map(([, { endedAt }]) => endedAt)),
    killed,
  };
}

/** Kills a broker as soon as it is seen to call EKS Auth. */
async function killInMidFetch(broker: Broker): Promise<void> {
  const until = performance.now() + 30_000;
  while (performance.now() < until) {
    const metrics = await broker.metrics();
    if ((metrics.get('pod_identity_broker_calls_under_way') ?? 0) > 0) {
      process.kill(broker.pid, 'SIGKILL');
      return;
    }
    await pause(5);
  }
  throw new BrokenRunError('the broker that was to be killed was not seen to call EKS Auth');
}

/** A pod of each service account on each node goes on asking, while sessions are renewed. */
async function renew(
  simulator: RemoteSimulator,
  brokers: readonly (readonly [node: number, broker: Broker])[],
  { serviceAccounts, renewAfterSeconds, lifetimes }: Plan,
): Promise<RenewalFigures> {
  const nodeOf = (index: number) =>
    brokers[Math.floor(index / serviceAccounts)] as [number, Broker];
  const accounts = await createServiceAccounts(simulator, serviceAccounts);
  const pods = await inParallel(brokers.length * accounts.length, (index) =>
    simulator.kubelet.createPod({
      namespace: NAMESPACE,
      serviceAccount: accounts[index % accounts.length] as string,
      node: nodeName(nodeOf(index)[0]),
    }),
  );
  const began = performance.now();
  const since = Date.now();
  const seconds = renewAfterSeconds * (lifetimes + 0.5);
  while (performance.now() - began < seconds * 1_000) {
    const answers = await Promise.all(
      pods.map(async (pod, index) => {
        const [, broker] = nodeOf(index);
        return { pod, ...(await tryOnce(broker.address, pod.token, { patience: 30_000 })) };
      }),
    );
    const failed = answers.find(({ status }) => status !== 200);
    if (failed !== undefined) throw new BrokenRunError(`a pod was answered ${failed.status}`);
    await checkAnswers(simulator, answers);
    await pause(ASKED_EVERY);
  }
  const calls = await callsSince(simulator, accounts, since);
  const times = accounts.map((account) =>
    calls.filter(({ serviceAccount }) => serviceAccount === account).map(({ time }) => time),
  );
  // The first call for each session is its fetch.
  const each = times.map(({ length }) => length - 1);
  const gaps = times.flatMap((all) => all.slice(1).map((time, index) => time - (all[index] ?? 0)));
  return {
    seconds: (performance.now() - began) / 1_000,
    calls: each.reduce((sum, one) => sum + one, 0),
    most: Math.max(...each),
    fewest: Math.min(...each),
    leastApartMs: Math.min(...gaps),
  };
}
