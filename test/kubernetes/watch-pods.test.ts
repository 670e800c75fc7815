import { request } from 'node:http';
import t, { type Test } from 'tap';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { ApiServer } from '../support/api-server.ts';
import { type BrokerProcess, runProgram, startBroker } from '../support/broker-process.ts';
import { wayTo } from '../support/cut-off.ts';
import { applyManifest } from '../support/manifests.ts';
import { needsApiServer } from '../support/needs.ts';
import { until } from '../support/until.ts';

// A broker with a real API server: real pods, tokens and keys. Pods are addresses of loopback,
// 127.1.0.1 and so on; 127.0.0.1, and every other that no pod has, counts as the node's own.

const skip = needsApiServer();
const FINDINGS = 'pod_identity_broker_pod_findings_total';

/** The status of a request for credentials from an address of loopback. */
function statusFrom(broker: BrokerProcess, address: string, token: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const asked = request({
    host: '127.0.0.1',
    port: broker.port,
    path: '/v1/credentials',
    localAddress: address,
    agent: false,
    headers: { Authorization: token },
  });
  asked.on('error', reject);
  asked.on('response', (response) => {
    response.resume();
    response.on('end', () => resolve(response.statusCode ?? 0));
  });
  asked.end();
  return promise;
}

/** What the operator is told of a token. */
async function explained({ adminSocket }: BrokerProcess, token: string): Promise<string> {
  const folder = t.testdir({ token });
  const args = ['explain', `--token-file=${folder}/token`, `--admin-socket=${adminSocket}`];
  return (await runProgram(args)).stdout;
}

/** Waits until a pod is answered this, from an address. */
async function becomes(
  broker: BrokerProcess,
  address: string,
  token: string,
  status: number,
): Promise<void> {
  let last = 0;
  await until(
    async () => {
      last = await statusFrom(broker, address, token);
      return last === status;
    },
    () => `${address} is answered ${last}, not ${status}:\n${broker.lines.join('\n')}`,
  );
}

t.test('the pods of this node', { skip, timeout: 400_000 }, async (t) => {
  const api = await ApiServer.start({ t });
  await applyManifest(api, 'watch-pods-rbac');
  const own = await api.pod({
    namespace: 'kube-system',
    serviceAccount: 'pod-identity-broker',
    hostNetwork: true,
  });
  const simulator = await startSimulator({ issuer: api.issuer });
  t.teardown(() => simulator.close());
  simulator.issuerKeys.adopt(await api.done('/openid/v1/jwks'));
  for (const serviceAccount of ['cart', 'till', 'desk']) {
    const roleArn = `arn:aws:iam::${simulator.account}:role/${serviceAccount}`;
    simulator.associations.create({ namespace: 'shop', serviceAccount, roleArn });
  }

  const startWatching = async (t: Test, mode: 'audit' | 'enforce', port?: number) => {
    const broker = await startBroker({
      t,
      simulator,
      args: [`--watch-pods=${mode}`, `--kubeconfig=${api.kubeconfig(await own.token(null), port)}`],
      env: { NODE_NAME: 'node-1' },
    });
    const figure = async (name: string) => (await broker.metrics()).get(name);
    await until(
      async () => (await figure('pod_identity_broker_pod_watch_connected')) === 1,
      () => `no watch:\n${broker.lines.join('\n')}`,
    );
    return { broker, figure };
  };

  await t.test('each from its own addresses, while it is there', async (t) => {
    const { broker, figure } = await startWatching(t, 'enforce');
    const [a, b] = [
      await api.pod({ addresses: ['127.1.0.1'] }),
      await api.pod({ addresses: ['127.1.0.2'] }),
    ];
    const [ofA, ofB] = [await a.token(), await b.token()];
    t.equal(await statusFrom(broker, '127.1.0.1', ofA), 200);
    await becomes(broker, '127.1.0.2', ofB, 200);
    await until(async () => (await figure('pod_identity_broker_watched_pods')) === 3, 'not known');
    t.equal(await statusFrom(broker, '127.1.0.1', ofA), 200, 'a hit');
    t.equal(await statusFrom(broker, '127.1.0.2', ofA), 403, 'stolen by the other pod');
    t.equal(await statusFrom(broker, '127.0.0.1', ofA), 403, 'stolen by a host-network pod');
    t.equal(await figure(`${FINDINGS}{finding="wrong-address"}`), 2);
    t.equal(await figure('pod_identity_broker_requests_total{outcome="wrong-pod"}'), 2);

    const host = await api.pod({ serviceAccount: 'desk', hostNetwork: true });
    const ofHost = await host.token();
    await becomes(broker, '127.0.0.1', ofHost, 200);
    t.equal(await statusFrom(broker, '127.1.0.1', ofHost), 403, 'from a pod’s address');
    await host.delete();

    await b.delete(30);
    await until(async () => {
      const pods = await api.done('/api/v1/namespaces/shop/pods');
      return pods.items.some((pod: { metadata: { deletionTimestamp?: string } }) =>
        Boolean(pod.metadata.deletionTimestamp),
      );
    }, 'not terminating');
    t.equal(await statusFrom(broker, '127.1.0.2', ofB), 200, 'terminating, it is served');
    t.match(await explained(broker, ofB), /ok {2}pod .*127\.1\.0\.2/);
    await b.delete();
    await becomes(broker, '127.1.0.2', ofB, 403);
    t.match(await explained(broker, ofB), /NO {2}pod .*not on this node, or no longer/);
    t.equal(await statusFrom(broker, '127.1.0.1', ofB), 403, 'a token dies with its pod');

    const job = await api.pod({ addresses: ['127.1.0.3'] });
    const ofJob = await job.token();
    await becomes(broker, '127.1.0.3', ofJob, 200);
    await job.status({ phase: 'Succeeded' });
    await becomes(broker, '127.1.0.3', ofJob, 403);
    await job.delete();
    // Its address goes to a new pod; the old token does not come back with it.
    const next = await api.pod({ addresses: ['127.1.0.3'] });
    await becomes(broker, '127.1.0.3', await next.token(), 200);
    t.equal(await statusFrom(broker, '127.1.0.3', ofJob), 403);

    const elsewhere = await api.pod({ node: 'node-2', addresses: ['127.1.0.4'] });
    t.equal(await statusFrom(broker, '127.1.0.4', await elsewhere.token()), 400, 'another node’s');
    for (const pod of [a, next, elsewhere]) await pod.delete();
  });

  await t.test('an address that goes to another pod before the kubelet says so', async (t) => {
    const { broker } = await startWatching(t, 'enforce');
    const [old, young] = [
      await api.pod({ addresses: ['127.1.0.1'] }),
      await api.pod({ addresses: ['127.1.0.2'] }),
    ];
    const [ofOld, ofYoung] = [await old.token(), await young.token()];
    await becomes(broker, '127.1.0.1', ofOld, 200);
    await becomes(broker, '127.1.0.2', ofYoung, 200);
    // The younger one's sandbox has ended, its status is of before; the older one's new sandbox
    // has its address.
    await old.status({ addresses: ['127.1.0.2'] });
    await becomes(broker, '127.1.0.2', ofOld, 200);
    await becomes(broker, '127.1.0.2', ofYoung, 403);
    t.equal(await statusFrom(broker, '127.1.0.2', ofOld), 200);
    await young.status({ addresses: ['127.1.0.3'] });
    await becomes(broker, '127.1.0.3', ofYoung, 200);
    await broker.stop();

    // Both list it again, and a broker that is started now cannot tell since when.
    await young.status({ addresses: ['127.1.0.2'] });
    const again = await startWatching(t, 'enforce');
    t.equal(await statusFrom(again.broker, '127.1.0.2', ofOld), 200);
    t.equal(await statusFrom(again.broker, '127.1.0.2', ofYoung), 200);
    t.equal(await again.figure(`${FINDINGS}{finding="wrong-address"}`), 0);
    for (const pod of [old, young]) await pod.delete();
  });

  await t.test('a session goes with its last pod', async (t) => {
    const { broker, figure } = await startWatching(t, 'audit');
    const pod = await api.pod({ serviceAccount: 'till', addresses: ['127.1.0.1'] });
    t.equal(await statusFrom(broker, '127.1.0.1', await pod.token()), 200);
    const sessions = 'pod_identity_broker_sessions{scope="service-account"}';
    t.equal(await figure(sessions), 1);
    await until(async () => (await figure('pod_identity_broker_watched_pods')) === 2, 'not known');
    await pod.delete();
    await until(async () => (await figure(sessions)) === 0, 'the session is still there');
  });

  await t.test('audit refuses nobody, and counts whom it would refuse', async (t) => {
    const { broker, figure } = await startWatching(t, 'audit');
    const [a, b] = [
      await api.pod({ addresses: ['127.1.0.1'] }),
      await api.pod({ addresses: ['127.1.0.2'] }),
    ];
    const ofA = await a.token();
    await until(async () => (await figure('pod_identity_broker_watched_pods')) === 3, 'not known');
    t.equal(await statusFrom(broker, '127.1.0.2', ofA), 200);
    t.equal(await statusFrom(broker, '127.1.0.2', ofA), 200, 'a hit too');
    t.equal(await figure(`${FINDINGS}{finding="wrong-address"}`), 2);
    await a.delete();
    await until(async () => (await figure('pod_identity_broker_watched_pods')) === 2, 'not gone');
    t.equal(await statusFrom(broker, '127.1.0.1', ofA), 200);
    await until(
      async () => (await figure(`${FINDINGS}{finding="not-on-node"}`)) === 1,
      'not found out',
    );
    await broker.logged(({ msg }) => msg.startsWith('request would be refused'));
    await b.delete();
  });

  await t.test('the watch is cut, the API server is away, killed and back', async (t) => {
    const way = await wayTo(t, api.port);
    const { broker, figure } = await startWatching(t, 'enforce', way.port);
    const [a, b] = [
      await api.pod({ addresses: ['127.1.0.1'] }),
      await api.pod({ addresses: ['127.1.0.2'] }),
    ];
    const [ofA, ofB] = [await a.token(), await b.token()];
    await becomes(broker, '127.1.0.1', ofA, 200);
    await becomes(broker, '127.1.0.2', ofB, 200);
    const known = async (pods: number) =>
      await until(
        async () => (await figure('pod_identity_broker_watched_pods')) === pods,
        `not ${pods} pods`,
      );
    await known(3);

    way.cut();
    await b.delete();
    await becomes(broker, '127.1.0.2', ofB, 403);
    await known(2);
    t.equal(await figure('pod_identity_broker_pod_lists_total'), 1, 'gone on from where it was');

    way.close();
    await until(
      async () => (await figure('pod_identity_broker_pod_watch_connected')) === 0,
      'not noticed',
    );
    const c = await api.pod({ addresses: ['127.1.0.3'] });
    const ofC = await c.token();
    await a.delete();
    t.equal(await statusFrom(broker, '127.1.0.1', ofA), 200, 'served by what was known');
    t.equal(await statusFrom(broker, '127.1.0.3', ofA), 403, 'what is wrong stays wrong');
    t.equal(await statusFrom(broker, '127.1.0.3', ofC), 200, 'unknown: its signature decides');
    t.equal(await figure(`${FINDINGS}{finding="unchecked"}`), 1);
    t.equal(await statusFrom(broker, '127.1.0.3', `${ofC}x`), 400, 'and has to be good');
    way.open();
    await becomes(broker, '127.1.0.1', ofA, 403);
    t.equal(await statusFrom(broker, '127.1.0.3', ofC), 200);
    t.equal(await figure('pod_identity_broker_pod_lists_total'), 1);

    // Something else goes on in the cluster, which the watch of pods is not told of.
    await api.node('node-3');
    await api.down();
    t.equal(await statusFrom(broker, '127.1.0.3', ofC), 200, 'the API server is dead');
    await api.up();
    const d = await api.pod({ addresses: ['127.1.0.4'] });
    await becomes(broker, '127.1.0.4', await d.token(), 200);
    await known(3);
    await until(
      async () => (await figure('pod_identity_broker_pod_lists_total')) === 2,
      'a new API server does not know the old one’s place: 410 Gone, and a new list',
    );
    await c.delete();
    await becomes(broker, '127.1.0.3', ofC, 403);
    await d.delete();
  });
});
