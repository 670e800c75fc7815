import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { connectSimulator } from '../../src/simulator/control-client.ts';
import { runPod } from '../../src/simulator/demo/run-pod.ts';
import { createNode, type Namespace, type NodeNamespace } from '../../src/simulator/netns.ts';
import { ApiServer } from '../support/api-server.ts';
import { startBroker } from '../support/broker-process.ts';
import { applyManifest } from '../support/manifests.ts';
import { needsApiServer, needsNamespaces } from '../support/needs.ts';
import { until } from '../support/until.ts';

// All of it together, as a node has it: a bare node on which `initialize` makes the link, `server`
// on the real addresses and ports, pods with real tokens of a real API server and AWS SDKs, both
// families, and the next version in the middle.

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const LOAD = fileURLToPath(new URL('../support/pod-load.ts', import.meta.url));
const SIMULATOR_PORT = 8090;
const URLS = ['http://169.254.170.23/v1/credentials', 'http://[fd00:ec2::23]/v1/credentials'];

const skip = needsNamespaces() || needsApiServer();

/** Runs a command of the program on the node to its end. */
async function run(node: NodeNamespace, ...args: readonly string[]): Promise<number> {
  const child = node.exec(process.execPath, [MAIN, ...args], { stdio: 'ignore', env: {} });
  return (await once(child, 'close'))[0];
}

/** A node that `initialize` has not been run on. */
async function bareNode(t: Test): Promise<NodeNamespace> {
  const node = await createNode();
  t.teardown(() => node.close());
  const removed = node.exec('ip', ['link', 'delete', 'pod-id-link0'], { stdio: 'ignore' });
  t.equal((await once(removed, 'close'))[0], 0, 'the node is bare');
  return node;
}

/** Clients that ask over both families from a pod, until told to end. */
async function loadFrom(place: Namespace, token: string) {
  const child = place.exec(
    process.execPath,
    [LOAD, ...URLS.map((url) => `--url=${url}`), `--token=${token}`, '--clients=2', '--pause=10'],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const lines: string[] = [];
  const output = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  output.on('line', (line) => lines.push(line));
  await once(output, 'line');
  return {
    async end(): Promise<{ answered: number; failures: object }> {
      child.stdin?.end();
      await once(child, 'close');
      return JSON.parse(lines.at(-1) as string);
    },
  };
}

t.test('a node, its pods, a thief and an upgrade', { skip, timeout: 300_000 }, async (t) => {
  const node = await bareNode(t);
  const folder = mkdtempSync(join(tmpdir(), 'broker-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const socket = `--admin-socket=${folder}/run/admin.sock`;
  t.equal(await run(node, 'initialize', socket), 0, 'initialize');

  const api = await ApiServer.start({ t, node });
  await applyManifest(api, 'watch-pods-rbac');
  writeFileSync(join(folder, 'keys'), JSON.stringify(await api.done('/openid/v1/jwks')));
  node.exec(
    process.execPath,
    [
      ...[MAIN, 'simulate', '--host=0.0.0.0', `--port=${SIMULATOR_PORT}`],
      ...[`--issuer=${api.issuer}`, `--issuer-keys=${join(folder, 'keys')}`],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'], env: {} },
  );
  const url = `http://127.0.0.1:${await node.forward(SIMULATOR_PORT)}`;
  const connected = () => connectSimulator(url).catch(() => undefined);
  await until(async () => (await connected()) !== undefined, 'the simulator');
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
  const kubeconfig = api.kubeconfig(await own.token(null));
  const start = async () => {
    const broker = await startBroker({
      t,
      node,
      simulator: { ...simulator, url: `http://127.0.0.1:${SIMULATOR_PORT}` },
      args: ['--watch-pods=enforce', `--kubeconfig=${kubeconfig}`, socket],
      env: { NODE_NAME: 'node-1' },
      waitUntilReady: false,
    });
    await broker.logged(({ msg }) => msg === 'ready');
    await broker.logged(({ msg }) => msg === 'token issuer keys loaded');
    return broker;
  };
  const first = await start();

  const places = [await node.createPod(), await node.createPod(), await node.createPod()] as const;
  const tokens: string[] = [];
  for (const { address4, address6 } of places) {
    const pod = await api.pod({ addresses: [address4, address6] });
    tokens.push(await pod.token());
  }
  await until(
    async () => (await first.metrics()).get('pod_identity_broker_watched_pods') === 4,
    'the pods are not known',
  );
  /** What an AWS SDK gets in a pod that has a token, over each family. */
  const roles = (place: Namespace, token: string) =>
    Promise.all(
      URLS.map(async (uri) => {
        const file = join(mkdtempSync(join(folder, 'pod-')), 'token');
        writeFileSync(file, token);
        const environment = {
          AWS_CONTAINER_CREDENTIALS_FULL_URI: uri,
          AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file,
          AWS_REGION: simulator.region,
          AWS_ENDPOINT_URL_STS: `http://${node.address4}:${SIMULATOR_PORT}`,
          HOME: folder,
        };
        return (await runPod(place, environment, new AbortController().signal)).roles;
      }),
    );
  const [customer, busy, thief] = places;
  const [ofCustomer = '', ofBusy = ''] = tokens;
  const check = async (when: string) => {
    t.strictSame(await roles(customer, ofCustomer), [['cart'], ['cart']], `${when}: the pod`);
    t.strictSame(await roles(thief, ofCustomer), [[], []], `${when}: its token, stolen`);
  };

  await check('before');
  const load = await loadFrom(busy, ofBusy);
  // As the next version's pod does it: its init container first, beside the one that runs.
  t.equal(await run(node, 'initialize', socket), 0, 'initialize again');
  const second = await start();
  await second.logged(({ msg }) => /taking over/.test(msg));
  t.equal(await first.stop(), 0);
  await until(
    async () => (await second.metrics()).get('pod_identity_broker_watched_pods') === 4,
    'the next version does not know the pods',
  );
  await check('after');
  const { answered, failures } = await load.end();
  t.strictSame(failures, {}, 'no request is lost');
  t.ok(answered > 100, `${answered} requests answered`);
  t.equal((await simulator.counts()).assumeRole.calls, 1, 'by one call to EKS Auth');
});
