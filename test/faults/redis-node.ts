import type { Test } from 'tap';
import type { BrokerProcess } from '../support/broker-process.ts';
import { keyFile } from '../support/redis-server.ts';
import { until } from '../support/until.ts';
import { ask, type Cluster, startCluster } from './cluster.ts';

/** `--redis-budget` by default, in milliseconds. */
export const BUDGET = 50;
/** Failures in a row that open the circuit. */
export const MAX_FAILURES = 3;
/**
 * Far less than the time-outs of connections to Redis, which are seconds. How long Redis may hold a
 * miss up is tested to the millisecond in `test/session-store/budget.test.ts`.
 */
const MAX_WAIT = 1_500;
/**
 * The fastest of a few requests hardly depends on how busy the machine is, so that it tells whether
 * each of them waits for something.
 */
const SAMPLES = 8;
export const MARGIN = BUDGET / 2;

const AWAY = 'Redis is not used now';
const CLOSED = 'pod_identity_broker_redis_circuit{state="closed"}';

/** A broker with a Redis, and one on the same node without. */
export interface RedisNode {
  readonly cluster: Cluster;
  readonly broker: BrokerProcess;
  /** Asks for a service account that nobody has asked for yet; gives the milliseconds it took. */
  miss(): Promise<number>;
  /** Asks for one that is there. */
  hit(): Promise<number>;
  /** Fails the test if a request takes longer than without Redis, give or take {@link MARGIN}. */
  isAsFastAsWithout(kind: 'miss' | 'hit'): Promise<void>;
  /** How much longer than without Redis the fastest of these misses took. */
  heldUp(took: readonly number[]): Promise<number>;
  isClosed(): Promise<boolean>;
  /** Waits until the circuit closes or opens. */
  circuit(closed: boolean): Promise<void>;
  /** Claims that ended so. */
  claims(result?: 'timeout' | 'ok' | 'error' | 'not-sent'): Promise<number>;
  /** How often the log says something. */
  said(message: string): number;
  /**
   * Fails the test if anything was waited for but a budget of each claim that opened the circuit.
   *
   * @returns How many claims have waited.
   */
  countWaits(): Promise<number>;
}

/** Starts a broker that uses a Redis, in a cluster of its own. */
export async function startRedisNode(
  t: Test,
  url: string,
  args: readonly string[] = [],
): Promise<RedisNode> {
  const cluster = await startCluster(t);
  const broker = await cluster.broker({
    args: [
      `--redis-url=${url}`,
      '--redis-sharing=cluster',
      ...(args.some((arg) => arg.startsWith('--redis-key-file'))
        ? []
        : [`--redis-key-file=${keyFile(t)}`]),
      ...args,
    ],
  });
  let without: Promise<BrokerProcess> | undefined;
  const plain = asker(t, cluster, 'plain', () => {
    without ??= cluster.broker();
    return without;
  });
  const { miss, hit } = asker(t, cluster, 'app', async () => broker);
  const claims = async (result?: string) =>
    [...(await broker.metrics())]
      .filter(([name]) => name.startsWith('pod_identity_broker_redis_commands_total{'))
      .filter(([name]) => name.includes('command="claim"'))
      .filter(([name]) => result === undefined || name.includes(`result="${result}"`))
      .reduce((sum, [, value]) => sum + value, 0);
  const isClosed = async () => (await broker.metrics()).get(CLOSED) === 1;
  const said = (message: string) => broker.logs().filter(({ msg }) => msg === message).length;
  return {
    cluster,
    broker,
    miss,
    hit,
    async isAsFastAsWithout(kind) {
      const ours: number[] = [];
      const theirs: number[] = [];
      if (kind === 'hit') await plain.miss();
      for (let sample = 0; sample < SAMPLES; sample += 1) {
        ours.push(await (kind === 'hit' ? hit() : miss()));
        theirs.push(await plain[kind]());
      }
      const more = Math.min(...ours) - Math.min(...theirs);
      t.ok(more < MARGIN, `a ${kind} takes ${more.toFixed(1)} ms more than without Redis`);
    },
    async heldUp(took) {
      const without: number[] = [];
      for (let sample = 0; sample < SAMPLES; sample += 1) without.push(await plain.miss());
      return Math.min(...took) - Math.min(...without);
    },
    isClosed,
    circuit: (closed) =>
      until(
        async () => (await isClosed()) === closed,
        closed ? 'the circuit closes' : 'the circuit opens',
      ),
    claims,
    said,
    async countWaits() {
      const waited = await claims('timeout');
      const most = MAX_FAILURES * said(AWAY);
      t.ok(waited <= most, `${waited} claims have waited, at most ${most} may`);
      return waited;
    },
  };
}

/** Asks a broker for service accounts, each of which is its own. */
function asker(t: Test, cluster: Cluster, prefix: string, started: () => Promise<BrokerProcess>) {
  let accounts = 0;
  let last = '';
  const request = async (token: string) => {
    const broker = await started();
    const { status, took } = await ask(broker, token);
    if (status !== 200) t.fail(`answered ${status}`);
    if (took > MAX_WAIT) t.fail(`answered after ${Math.round(took)} ms`);
    return took;
  };
  return {
    miss() {
      const account = `${prefix}-${accounts}`;
      accounts += 1;
      cluster.associate(account);
      last = cluster.pod(account).token;
      return request(last);
    },
    hit: () => request(last),
  };
}
