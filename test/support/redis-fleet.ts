import type { Test } from 'tap';
import type { Pod } from '../../src/simulator/pod.ts';
import { ask, type Cluster, NAMESPACE, startCluster } from '../faults/cluster.ts';
import type { BrokerProcess } from './broker-process.ts';
import { keyFile, startRedis } from './redis-server.ts';
import { until } from './until.ts';

/** Brokers that are started at the same time. */
const AT_ONCE = 4;

/** Brokers that share their sessions. */
export interface Fleet {
  readonly cluster: Cluster;
  readonly brokers: readonly BrokerProcess[];
  /** Asks one of the brokers for a pod on its node. */
  get(index: number, serviceAccount?: string): Promise<{ status: number; key: string }>;
}

/** How to start a fleet. */
export interface FleetOptions {
  /** Of EKS Auth, in milliseconds; default 50. */
  readonly latency?: number;
  /** Default is 4. */
  readonly nodes?: number;
  /**
   * `--redis-budget`; default is that of the flag. A fleet that keeps more processes busy than the
   * machine has cores needs a longer one: Redis waits for a core as well, and whoever does not wait
   * for it makes a call of its own.
   */
  readonly budget?: string | undefined;
  /** Flags of all brokers. */
  readonly args?: readonly string[];
  /** Further flags of each. */
  readonly own?: readonly (readonly string[])[];
}

/** Starts brokers on several nodes, which share one Redis. */
export async function startFleet(
  t: Test,
  { latency = 50, nodes = 4, budget, args = [], own = [] }: FleetOptions = {},
): Promise<Fleet> {
  const cluster = await startCluster(t, { latency });
  const redis = await startRedis(t);
  const key = keyFile(t);
  const brokers: BrokerProcess[] = [];
  // A few at a time: a process that starts takes a core for a second.
  while (brokers.length < nodes) {
    const some = Array.from({ length: Math.min(AT_ONCE, nodes - brokers.length) }, (_, index) => {
      const node = brokers.length + index;
      return cluster.broker({
        args: [
          `--redis-url=${redis.url}`,
          `--redis-key-file=${key}`,
          '--redis-sharing=cluster',
          ...(budget === undefined ? [] : [`--redis-budget=${budget}`]),
          '--client-wait=15s',
          ...args,
          ...(own[node] ?? []),
        ],
        env: { NODE_NAME: `node-${node}` },
      });
    });
    brokers.push(...(await Promise.all(some)));
  }
  for (const broker of brokers) {
    await until(
      async () =>
        (await broker.metrics()).get('pod_identity_broker_redis_circuit{state="closed"}') === 1,
      'Redis is there',
    );
  }
  const pods = new Map<string, Pod>();
  return {
    cluster,
    brokers,
    async get(index, serviceAccount = 'cart') {
      const name = `${index}/${serviceAccount}`;
      const pod =
        pods.get(name) ??
        cluster.simulator.kubelet.createPod({
          namespace: NAMESPACE,
          serviceAccount,
          node: `node-${index}`,
        });
      pods.set(name, pod);
      const { status, body } = await ask(brokers[index] as BrokerProcess, pod.token);
      return { status, key: body?.AccessKeyId };
    },
  };
}

/** Waits until a broker is calling EKS Auth. */
export const calling = (broker: BrokerProcess | undefined) =>
  until(
    async () => (await broker?.metrics())?.get('pod_identity_broker_calls_under_way') === 1,
    'a call is under way',
  );
