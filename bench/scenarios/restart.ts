import { setTimeout as pause } from 'node:timers/promises';
import type { SessionScope } from '../../src/config/config.ts';
import type { RemotePod } from '../../src/simulator/control-client.ts';
import { freePort } from '../../src/simulator/free-port.ts';
import { BrokenRunError } from '../harness/broken-run.ts';
import { type Broker, startBroker } from '../harness/broker.ts';
import { type Cluster, startCluster } from '../harness/cluster.ts';
import { createPods } from '../harness/pods.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { VARIANT_LABEL } from '../harness/variants.ts';
import { type Client, runClients } from '../load/clients.ts';
import { type Address, podAddress, tryOnce } from '../load/one-try.ts';
import { count, milliseconds } from '../report/format.ts';
import { leftOut } from '../report/results.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { NO_REDIS, redisVersion, startRedis } from '../servers/redis.ts';

const POD = { startAt: 0, patience: 30_000, tries: 10, pause: 1_000 } satisfies Partial<Client>;

interface RestartFigures {
  readonly scope: SessionScope;
  readonly redis: boolean;
  readonly signal: 'SIGTERM' | 'SIGKILL';
  readonly callsBefore: number;
  readonly callsAfter: number;
  readonly readyAfterMs: number;
  readonly firstAnswerAfterMs: number;
}

/** A full node's broker ends under load and comes back; all of its pods ask again. */
export const restart: Scenario = {
  name: 'restart',
  shows: 'calls to EKS Auth, and the time to the first answer, after a restart with warm sessions',
  async run(bench) {
    const { pods, serviceAccounts, scopes, signals } = bench.config.restart;
    if (redisVersion() === undefined) return leftOut(NO_REDIS);
    const figures: RestartFigures[] = [];
    for (const scope of scopes) {
      for (const redis of [false, true]) {
        for (const signal of signals) figures.push(await restarted(bench, scope, redis, signal));
      }
    }
    const warm = figures.filter(({ redis }) => redis);
    const cold = figures.filter(({ redis }) => !redis);
    const calls = (of: readonly RestartFigures[]) =>
      count(Math.max(...of.map(({ callsAfter }) => callsAfter)));
    const slowest = Math.max(...warm.map(({ firstAnswerAfterMs }) => firstAnswerAfterMs));
    return {
      headlines: [
        `after a restart ${calls(warm)} calls with Redis, up to ${calls(cold)} without; first answer at most ${milliseconds(slowest)} after exec`,
      ],
      tables: [
        {
          title: `restart: ${pods} pods of ${serviceAccounts} service accounts, the broker ends under load`,
          columns: ['', 'calls before', 'calls after', 'ready after', 'first answer after'],
          rows: figures.map((one) => [
            `${VARIANT_LABEL[one.scope]}, ${one.redis ? 'Redis' : 'memory only'}, ${one.signal}`,
            count(one.callsBefore),
            count(one.callsAfter),
            milliseconds(one.readyAfterMs),
            milliseconds(one.firstAnswerAfterMs),
          ]),
          notes: ['Times are from exec of the second process, on one core.'],
        },
      ],
      charts: [],
      figures,
    };
  },
};

async function restarted(
  bench: Bench,
  scope: RestartFigures['scope'],
  withRedis: boolean,
  signal: RestartFigures['signal'],
): Promise<RestartFigures> {
  const { config, cores, progress } = bench;
  const { latency, quota, ...plan } = config.restart;
  await using cluster = await startCluster({ seed: config.seed, latency, quota });
  const { simulator } = cluster;
  await using redis = withRedis ? await startRedis() : undefined;
  const port = await freePort();
  const address = { host: '127.0.0.1', port };
  const start = () =>
    startBroker(bench, simulator, {
      core: cores?.target,
      flags: [`--port=${port}`, `--session-scope=${scope}`, ...(redis?.flags ?? [])],
    });
  progress(`${scope}, ${withRedis ? 'Redis' : 'memory only'}, ${signal}`);
  const pods = await createPods(simulator, plan);
  await using first = await start();
  const callsBefore = await wave(cluster, address, pods);
  if (withRedis) await written(first);
  // Under load: whoever is on the way meanwhile comes back.
  const load = runClients(address, clientsOf(pods.slice(0, 50)));
  process.kill(first.pid, signal);
  await until(async () => first.process.ended(), `the end after ${signal}`, 5);
  const began = performance.now();
  const answered = firstAnswer(address, pods[0] as RemotePod, began);
  await using second = await start();
  const firstAnswerAfterMs = await answered;
  await load;
  const callsAfter = await wave(cluster, address, pods);
  const total = (await simulator.counts()).assumeRole.calls;
  if (withRedis && total > callsBefore) {
    throw new BrokenRunError(`${total - callsBefore} calls after a restart with Redis`);
  }
  return {
    ...{ scope, redis: withRedis, signal, callsBefore },
    // Those of the load count too.
    callsAfter: Math.max(callsAfter, total - callsBefore),
    readyAfterMs: second.readyAfter,
    firstAnswerAfterMs,
  };
}

/** Asks again and again until there is an answer; milliseconds since `began`. */
async function firstAnswer(address: Address, pod: RemotePod, began: number): Promise<number> {
  for (;;) {
    const { status } = await tryOnce(address, pod.token, { patience: 5_000 });
    const took = performance.now() - began;
    if (status === 200) return took;
    if (took > 30_000) throw new BrokenRunError('no answer within 30 s of a restart');
    await pause(5);
  }
}

/** Waits until nothing is left to be written. */
function written(broker: Broker): Promise<void> {
  const isWritten = async () =>
    (await broker.metrics()).get('pod_identity_broker_redis_writes_waiting') === 0;
  return until(isWritten, 'the last write to Redis', 20);
}

/** @throws BrokenRunError - It does not hold within half a minute. */
async function until(holds: () => Promise<boolean>, what: string, interval: number): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new BrokenRunError(`waited in vain for ${what}`);
    await pause(interval);
  }
}

const clientsOf = (pods: readonly RemotePod[]): Client[] =>
  pods.map(({ token }, index) => ({ ...POD, token, from: podAddress(index) }));

/** All pods ask at once; how many calls that made. */
async function wave(
  { simulator }: Cluster,
  address: Address,
  pods: readonly RemotePod[],
): Promise<number> {
  const before = (await simulator.counts()).assumeRole.calls;
  const results = await runClients(address, clientsOf(pods));
  const failed = results.find(({ status }) => status !== 200);
  if (failed !== undefined) {
    const { status, failure, body } = failed;
    throw new BrokenRunError(`a pod was answered ${status}: ${failure ?? body}`);
  }
  await checkAnswers(
    simulator,
    results.map(({ body }, index) => ({ pod: pods[index] as RemotePod, body })),
  );
  return (await simulator.counts()).assumeRole.calls - before;
}
