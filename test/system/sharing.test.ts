import { connect } from 'node:net';
import t, { type Test } from 'tap';
import type { Pod } from '../../src/simulator/pod.ts';
import {
  type Simulator,
  type SimulatorOptions,
  startSimulator,
} from '../../src/simulator/simulator.ts';
import { type BrokerProcess, startBroker } from '../support/broker-process.ts';
import { until } from '../support/until.ts';

const ACCOUNTS = 5;
const PODS = 50;

interface Cluster {
  readonly simulator: Simulator;
  readonly broker: BrokerProcess;
  readonly pods: readonly Pod[];
}

/** A node with pods of several service accounts, each with a role of its own. */
async function cluster(
  t: Test,
  { args = [], ...options }: SimulatorOptions & { args?: readonly string[] },
): Promise<Cluster> {
  const simulator = await startSimulator(options);
  t.teardown(() => simulator.close());
  for (let i = 0; i < ACCOUNTS; i += 1) {
    simulator.associations.create({
      namespace: 'shop',
      serviceAccount: `app-${i}`,
      roleArn: `arn:aws:iam::${simulator.account}:role/app-${i}`,
    });
  }
  const broker = await startBroker({
    simulator,
    t,
    args: [`--token-issuer=${simulator.issuer}`, ...args],
  });
  const pods = Array.from({ length: PODS }, (_, i) =>
    simulator.kubelet.createPod({ namespace: 'shop', serviceAccount: `app-${i % ACCOUNTS}` }),
  );
  return { simulator, broker, pods };
}

/** Two processes of every pod ask at once; every answer has to be for the pod's own role. */
async function askAll(t: Test, { simulator, broker, pods }: Cluster): Promise<number> {
  const before = simulator.counts().assumeRole.calls;
  const keys = new Map<string, string>();
  await Promise.all(
    [...pods, ...pods].map(async (pod) => {
      const { status, body } = await broker.get(pod.token);
      if (status !== 200) t.fail(`${status} ${body?.Code}`);
      keys.set(body.AccessKeyId, pod.serviceAccount);
    }),
  );
  for (const event of simulator.audit.events({ operation: 'AssumeRoleForPodIdentity' })) {
    const served = keys.get(event.issuedAccessKeyId ?? '');
    if (served !== undefined) t.equal(served, event.serviceAccount, 'served to its own pods only');
  }
  return simulator.counts().assumeRole.calls - before;
}

const expected = {
  'service-account': { first: ACCOUNTS, afterRotation: 0 },
  pod: { first: PODS, afterRotation: 0 },
  token: { first: PODS, afterRotation: PODS },
};
for (const [scope, calls] of Object.entries(expected)) {
  t.test(`${scope} scope`, async (t) => {
    const node = await cluster(t, { latency: 80, args: [`--session-scope=${scope}`] });
    t.equal(await askAll(t, node), calls.first);
    t.equal(await askAll(t, node), 0, 'the second time from memory');
    node.simulator.kubelet.rotateAll();
    t.equal(await askAll(t, node), calls.afterRotation, 'after all tokens rotated');
    t.same(node.simulator.counts().doubleFetches.token, 0);
  });
}

t.test('--pod-scope gives the pods of some a session each', async (t) => {
  const node = await cluster(t, { args: ['--pod-scope=shop/app-0', '--pod-scope=bank'] });
  t.equal(await askAll(t, node), ACCOUNTS - 1 + PODS / ACCOUNTS);
});

t.test('a recreated service account is another one', async (t) => {
  const node = await cluster(t, {});
  await askAll(t, node);
  node.simulator.kubelet.recreateServiceAccount('shop', 'app-0');
  const pod = node.simulator.kubelet.createPod({ namespace: 'shop', serviceAccount: 'app-0' });
  const before = node.simulator.counts().assumeRole.calls;
  t.equal((await node.broker.get(pod.token)).status, 200);
  t.equal(node.simulator.counts().assumeRole.calls, before + 1);
});

t.test('a client that hangs up loses its answer and nothing else', async (t) => {
  const { simulator, broker, pods } = await cluster(t, { latency: 700 });
  const [pod] = pods;
  if (pod === undefined) throw new Error('no pod was made');
  const socket = connect(broker.port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(
    `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${pod.token}\r\n\r\n`,
  );
  await until(() => simulator.counts().inFlight > 0, 'it is fetched for that client');
  socket.destroy();
  t.equal((await broker.get(pod.token)).status, 200, 'the next try finds it done, or joins it');
  t.equal(simulator.counts().assumeRole.calls, 1);
  t.equal(simulator.audit.events({ errorCode: 'ClientClosed' }).length, 0);
});

t.test('a fetch that takes longer than clients wait goes on without them', async (t) => {
  const { simulator, broker, pods } = await cluster(t, {
    latency: 1_500,
    args: ['--client-wait=400ms'],
  });
  const [pod] = pods;
  if (pod === undefined) throw new Error('no pod was made');
  const first = await broker.get(pod.token);
  t.equal(first.status, 503);
  t.equal(first.headers['retry-after'], '1');
  t.match(first.body, { Code: 'CredentialsPending' });
  await until(async () => (await broker.get(pod.token)).status === 200, 'the fetch has ended');
  t.equal(simulator.counts().assumeRole.calls, 1);
});
