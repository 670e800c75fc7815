import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { connectSimulator } from '../../src/simulator/control-client.ts';
import { runPod } from '../../src/simulator/demo/run-pod.ts';
import { createNode, type Namespace } from '../../src/simulator/netns.ts';
import { ApiServer } from '../support/api-server.ts';
import { startBroker } from '../support/broker-process.ts';
import { applyManifest } from '../support/manifests.ts';
import { needsApiServer, needsNamespaces } from '../support/needs.ts';
import { until } from '../support/until.ts';

// A node and its pods as network namespaces, with a real API server: requests come from the
// addresses that the pods have published, or from others.

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const SIMULATOR_PORT = 8090;
const HOSTS = { IPv4: '169.254.170.23', IPv6: '[fd00:ec2::23]' } as const;

/** Asks for credentials from inside a namespace, and gives the status. */
async function statusFrom(place: Namespace, token: string, family: keyof typeof HOSTS) {
  const program = `
    const response = await fetch('http://${HOSTS[family]}/v1/credentials', {
      headers: { Authorization: process.env.TOKEN },
      signal: AbortSignal.timeout(20_000),
    });
    process.stdout.write(String(response.status));`;
  const child = place.exec(process.execPath, ['--input-type=module', '-e', program], {
    env: { TOKEN: token },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(child, 'close');
  return Number(text);
}

const skip = needsNamespaces() || needsApiServer();

t.test('tokens are good from their pods’ own addresses', { skip, timeout: 300_000 }, async (t) => {
  const node = await createNode();
  t.teardown(() => node.close());
  const api = await ApiServer.start({ t, node });
  await applyManifest(api, 'watch-pods-rbac');
  const files = t.testdir({ keys: JSON.stringify(await api.done('/openid/v1/jwks')) });
  node.exec(
    process.execPath,
    [
      ...[MAIN, 'simulate', '--host=0.0.0.0', `--port=${SIMULATOR_PORT}`],
      ...[`--issuer=${api.issuer}`, `--issuer-keys=${join(files, 'keys')}`],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'], env: {} },
  );
  const url = `http://127.0.0.1:${await node.forward(SIMULATOR_PORT)}`;
  await until(
    async () => (await connectSimulator(url).catch(() => undefined)) !== undefined,
    'the simulator',
  );
  const simulator = await connectSimulator(url);
  await simulator.associations.create({
    namespace: 'shop',
    serviceAccount: 'cart',
    roleArn: `arn:aws:iam::${simulator.account}:role/cart`,
  });
  const own = await api.pod({
    namespace: 'kube-system',
    serviceAccount: 'pod-identity-broker',
    hostNetwork: true,
  });
  const broker = await startBroker({
    t,
    node,
    simulator,
    args: ['--watch-pods=enforce', `--kubeconfig=${api.kubeconfig(await own.token(null))}`],
    env: { NODE_NAME: 'node-1' },
  });

  const [first, second] = [await node.createPod(), await node.createPod()];
  const a = await api.pod({ addresses: [first.address4, first.address6] });
  const b = await api.pod({ addresses: [second.address4, second.address6] });
  const [ofA, ofB] = [await a.token(), await b.token()];
  await until(
    async () => (await broker.metrics()).get('pod_identity_broker_watched_pods') === 3,
    () => `the pods are not known:\n${broker.lines.join('\n')}`,
  );

  await t.test('an AWS SDK in the pod, and one with a stolen token', async (t) => {
    const tokenFile = join(files, 'token');
    writeFileSync(tokenFile, ofA);
    const environment = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://${HOSTS.IPv4}/v1/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: tokenFile,
      AWS_REGION: simulator.region,
      AWS_ENDPOINT_URL_STS: `http://${node.address4}:${SIMULATOR_PORT}`,
      HOME: files,
    };
    const { signal } = new AbortController();
    t.match(await runPod(first, environment, signal), { roles: ['cart'], failure: undefined });
    const thief = await runPod(second, environment, signal);
    t.strictSame(thief.roles, []);
    t.type(thief.failure, 'string');
    const refused = (await broker.metrics()).get(
      'pod_identity_broker_requests_total{outcome="wrong-pod"}',
    );
    t.ok(refused !== undefined && refused > 0, `${refused} refused`);
  });

  for (const family of ['IPv4', 'IPv6'] as const) {
    await t.test(`over ${family}`, async (t) => {
      t.equal(await statusFrom(first, ofA, family), 200);
      t.equal(await statusFrom(second, ofB, family), 200);
      t.equal(await statusFrom(second, ofA, family), 403, "from the other pod's address");
      t.equal(await statusFrom(node, ofA, family), 403, "from the node's addresses");
    });
  }

  await t.test('a pod on the host network', async (t) => {
    const host = await api.pod({ hostNetwork: true });
    const token = await host.token();
    for (const family of ['IPv4', 'IPv6'] as const) {
      t.equal(await statusFrom(node, token, family), 200);
      t.equal(await statusFrom(first, token, family), 403, "from a pod's address");
    }
  });

  await t.test('a pod whose addresses are not published yet, or are others', async (t) => {
    const third = await node.createPod();
    const fresh = await api.pod();
    const token = await fresh.token();
    t.equal(await statusFrom(third, token, 'IPv4'), 200, 'judged by its life alone');
    t.equal(await statusFrom(first, token, 'IPv4'), 403, 'but not from an address of another');
    const known = (await broker.metrics()).get('pod_identity_broker_watched_pods');
    await fresh.status({ addresses: ['10.244.9.9'] });
    const unknown = 'pod_identity_broker_pod_findings_total{finding="unknown-address"}';
    await until(async () => {
      t.equal(await statusFrom(third, token, 'IPv4'), 200, 'an address that no pod has');
      return (await broker.metrics()).get(unknown) === 1;
    }, 'an unknown address is not counted');
    t.equal((await broker.metrics()).get('pod_identity_broker_watched_pods'), known);
  });

  await t.test('a token dies with its pod', async (t) => {
    await a.delete();
    await until(async () => (await statusFrom(first, ofA, 'IPv4')) === 403, 'it is served still');
    t.equal(await statusFrom(first, ofA, 'IPv6'), 403);
    t.equal(await statusFrom(second, ofB, 'IPv4'), 200, 'its neighbour is served');
  });
});
