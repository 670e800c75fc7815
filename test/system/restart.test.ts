import { randomBytes } from 'node:crypto';
import t from 'tap';
import { DEFAULT_NODE } from '../../src/simulator/kubelet.ts';
import { ask, startCluster, total } from '../faults/cluster.ts';
import type { BrokerProcess } from '../support/broker-process.ts';
import { keepAsking } from '../support/keep-asking.ts';
import { needsProgram } from '../support/needs.ts';
import { keyFile, startRedis } from '../support/redis-server.ts';
import { until } from '../support/until.ts';

// A broker that restarts comes back with its sessions, where Redis keeps them: its pods'
// requests cause no call to EKS Auth.

const ACCOUNTS = Array.from({ length: 10 }, (_, index) => `app-${index}`);
const PODS = 250;
/** Of the pods, those that ask while the broker stops. */
const CLIENTS = 50;
const skip = needsProgram('redis-server');

for (const [scope, sessions] of [
  ['pod', PODS],
  ['service-account', ACCOUNTS.length],
] as const) {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    t.test(`${scope} scope, ${signal}, under load`, { skip }, async (t) => {
      const cluster = await startCluster(t, { latency: 20 });
      cluster.associate(...ACCOUNTS);
      const redis = await startRedis(t);
      const key = keyFile(t);
      const start = () =>
        cluster.broker({
          args: [
            `--session-scope=${scope}`,
            `--redis-url=${redis.url}`,
            `--redis-key-file=${key}`,
            '--max-pod-qps=0',
            // So many calls at once take longer on a busy machine than a pod would wait.
            '--client-wait=20s',
          ],
          env: { NODE_NAME: DEFAULT_NODE },
        });
      const pods = Array.from({ length: PODS }, (_, index) =>
        cluster.pod(ACCOUNTS[index % ACCOUNTS.length] as string),
      );

      const first = await start();
      const keys = await askAll(first, pods);
      t.equal(cluster.calls().length, sessions);
      await written(first);
      // Under load: the broker goes while it is asked.
      const load = pods.slice(0, CLIENTS).map(({ token }) => keepAsking(first, token));
      const answered = await total(first, 'pod_identity_broker_requests_total');
      await until(
        async () => (await total(first, 'pod_identity_broker_requests_total')) > answered + 500,
        'it is under load',
      );
      await first.stop(signal);
      for (const [index, { answers, last, failure }] of (await Promise.all(load)).entries()) {
        t.ok(answers.length > 0);
        t.ok(answers.every(({ status, key }) => status === 200 && key === keys[index]));
        if (signal === 'SIGKILL') continue;
        t.equal(last, 'close', 'its last request was answered');
        t.equal(failure, undefined);
      }

      const second = await start();
      const again = await askAll(second, pods);
      t.equal(cluster.calls().length, sessions, 'no call after the restart');
      t.strictSame(again, keys, 'every pod has what it had');
      const metrics = await second.metrics();
      t.equal(metrics.get('pod_identity_broker_redis_entries_loaded_total'), sessions);
      t.match(await second.logged(({ msg }) => msg === 'sessions loaded from Redis'), {
        sessions,
      });
    });
  }
}

t.test('a key is replaced in two restarts, and nothing is lost', { skip }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate(...ACCOUNTS);
  const pods = ACCOUNTS.map((account) => cluster.pod(account));
  const redis = await startRedis(t);
  const [old, next] = [randomBytes(32), randomBytes(32)];
  const rolled = async (...keys: Buffer[]) => {
    const broker = await cluster.broker({
      args: [`--redis-url=${redis.url}`, `--redis-key-file=${keyFile(t, ...keys)}`],
      env: { NODE_NAME: DEFAULT_NODE },
    });
    await askAll(broker, pods);
    return broker;
  };
  await (await rolled(old)).stop();
  const calls = cluster.calls().length;
  const rolling = await rolled(next, old);
  t.match(await rolling.logged(({ msg }) => msg === 'sessions loaded from Redis'), {
    sessions: ACCOUNTS.length,
  });
  await written(rolling);
  await rolling.stop();
  const rotated = await rolled(next);
  t.match(await rotated.logged(({ msg }) => msg === 'sessions loaded from Redis'), {
    sessions: ACCOUNTS.length,
  });
  t.equal(cluster.calls().length, calls, 'no session was fetched or renewed for it');
});

for (const [scope, sessions] of [
  ['pod', PODS],
  ['service-account', ACCOUNTS.length],
] as const) {
  t.test(`without Redis every session is fetched again: ${scope} scope`, async (t) => {
    const cluster = await startCluster(t);
    cluster.associate(...ACCOUNTS);
    const pods = Array.from({ length: PODS }, (_, index) =>
      cluster.pod(ACCOUNTS[index % ACCOUNTS.length] as string),
    );
    const args = [`--session-scope=${scope}`, '--max-pod-qps=0', '--client-wait=20s'];
    const first = await cluster.broker({ args });
    await askAll(first, pods);
    t.equal(cluster.calls().length, sessions);
    await first.stop();
    await askAll(await cluster.broker({ args }), pods);
    t.equal(cluster.calls().length, 2 * sessions);
  });
}

/** Waits until nothing is left to be written to Redis. */
const written = (broker: BrokerProcess) =>
  until(
    async () => (await broker.metrics()).get('pod_identity_broker_redis_writes_waiting') === 0,
    'everything is written',
  );

/** Asks for every pod, and gives the access key ids in their order. */
async function askAll(
  broker: BrokerProcess,
  pods: readonly { readonly token: string }[],
): Promise<string[]> {
  return await Promise.all(
    pods.map(async ({ token }) => {
      const { status, body } = await ask(broker, token);
      if (status !== 200) throw new Error(`answered ${status}`);
      return body.AccessKeyId as string;
    }),
  );
}
