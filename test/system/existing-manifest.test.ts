import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { runPod } from '../../src/simulator/demo/run-pod.ts';
import { createNode, type NodeNamespace } from '../../src/simulator/netns.ts';
import { nodeEnvironment, startBroker } from '../support/broker-process.ts';
import { needsNamespaces } from '../support/needs.ts';
import { associate, nodeFor, SIMULATOR_PORT } from '../support/node-cluster.ts';

// What the manifests of the existing agent's chart say, taken as they are: the arguments of both
// containers, in the order of the chart, and the environment, without access to the API server
// (`automountServiceAccountToken: false`). Only image and command differ.

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const CLUSTER = 'simulated';

const skip = needsNamespaces();

/** The arguments of the init container, and of the agent's in each variant. */
const INIT = ['-v', 'trace'];
const COMMON = ['--port', '80', '--cluster-name', CLUSTER, '--probe-port', '2703'];
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  'cloud, as in older charts': [...COMMON, '-v', 'trace'],
  'cloud, with metrics': [...COMMON, '--metrics-port', '2705', '-v', 'trace'],
  hybrid: [...COMMON, '--metrics-port', '2705', '-v', 'trace', '--rotate-credentials', 'true'],
};

/** Every flag that the existing agent documents, in the ways that Go's flags can be written. */
const SPELLINGS: Readonly<Record<string, readonly string[]>> = {
  'name and value': [
    ...['--cluster-name', CLUSTER, '--port', '8080', '--probe-port', '2713'],
    ...['--metrics-address', '127.0.0.1', '--metrics-port', '2715'],
    ...['--bind-hosts', '169.254.170.23', '--bind-hosts', '[fd00:ec2::23]'],
    ...['--max-credential-retention-before-renewal', '1h30m', '--max-cache-size', '100'],
    ...['--max-service-qps', '5', '--rotate-credentials', 'false', '--verbosity', 'trace'],
  ],
  'name=value': [
    ...[`--cluster-name=${CLUSTER}`, '--port=8080', '--probe-port=2713'],
    ...['--metrics-address=127.0.0.1', '--metrics-port=2715'],
    ...['--bind-hosts=169.254.170.23', '--bind-hosts=[fd00:ec2::23]'],
    ...['--max-credential-retention-before-renewal=90m', '--max-cache-size=100'],
    ...['--max-service-qps=5', '--rotate-credentials=false', '--verbosity=trace'],
  ],
  short: [
    ...['-c', CLUSTER, '-p', '8080', '--probe-port', '2713'],
    ...['--metrics-address', '127.0.0.1', '--metrics-port', '2715'],
    ...['-b', '169.254.170.23', '-b', '[fd00:ec2::23]'],
    ...['--max-credential-retention-before-renewal', '5400s', '--max-cache-size', '100'],
    ...['--max-service-qps', '5', '-v', 'trace'],
  ],
  'short, joined': [
    ...[`-c=${CLUSTER}`, '-p8080', '--probe-port=2713'],
    ...['--metrics-address=127.0.0.1', '--metrics-port=2715'],
    ...['-b=169.254.170.23', '-b[fd00:ec2::23]'],
    ...['--max-credential-retention-before-renewal=5400000ms', '--max-cache-size=100'],
    ...['--max-service-qps=5', '--rotate-credentials=F', '-vtrace'],
  ],
};

/** A node that the init container has made ready, with a simulated EKS. */
async function initializedNode(t: Test) {
  const cluster = await nodeFor(t);
  const { node } = cluster;
  await run(node, '/sbin/ip', ['link', 'delete', 'pod-id-link0']);
  const socket = `--admin-socket=${t.testdirName}/run/admin.sock`;
  const { code, stdout } = await run(node, process.execPath, [MAIN, 'initialize', ...INIT, socket]);
  t.equal(code, 0, stdout);
  return cluster;
}

async function run(node: NodeNamespace, command: string, args: readonly string[]) {
  const child = node.exec(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env: {} });
  const code = new Promise<number | null>((resolve) => child.once('close', resolve));
  const stdout = await text(child.stdout as NodeJS.ReadableStream);
  return { code: await code, stdout };
}

t.test('the existing chart’s manifests start the server, and it shares', { skip }, async (t) => {
  const cluster = await initializedNode(t);
  const { node, simulator } = cluster;
  const endpoint = `http://${node.address4}:${SIMULATOR_PORT}`;
  for (const [name, args] of Object.entries(VARIANTS)) {
    await t.test(name, async (t) => {
      const serviceAccount = name.replaceAll(/\W+/g, '-');
      await associate(cluster, serviceAccount);
      const { AWS_REGION, ...credentials } = nodeEnvironment(simulator);
      const rotating = args.includes('--rotate-credentials');
      const home = t.testdir({});
      if (rotating) writeCredentials(`${home}/.aws/credentials`, credentials);
      const broker = await startBroker({
        t,
        node,
        args,
        env: {
          AWS_REGION,
          // What a real node finds by itself: its role, and EKS Auth.
          ...(rotating ? { HOME: home, AWS_EC2_METADATA_DISABLED: 'true' } : credentials),
          POD_IDENTITY_BROKER_ENDPOINT: endpoint,
        },
      });
      t.equal(await broker.probe('healthz'), 200);
      t.equal(await broker.probe('readyz'), 200);
      for (const host of ['169.254.170.23', '[fd00:ec2::23]', '169.254.170.23']) {
        const place = await node.createPod();
        const pod = await simulator.kubelet.createPod({ namespace: 'default', serviceAccount });
        mkdirSync(dirname(pod.tokenFile as string), { recursive: true });
        const environment = {
          ...(await pod.environment(`http://${host}/v1/credentials`)),
          AWS_ENDPOINT_URL_STS: endpoint,
          HOME: dirname(pod.tokenFile as string),
        };
        t.strictSame(await runPod(place, environment, new AbortController().signal), {
          roles: [serviceAccount],
          failure: undefined,
        });
      }
      const { serviceAccounts } = await simulator.counts();
      t.match(
        serviceAccounts[`default/${serviceAccount}`],
        { calls: 1 },
        'one call for three pods',
      );
      t.equal(await broker.stop(), 0);
    });
  }
});

/** The shared credentials file of a hybrid node. */
function writeCredentials(file: string, variables: Readonly<Record<string, string | undefined>>) {
  mkdirSync(dirname(file), { recursive: true });
  const lines = ['ACCESS_KEY_ID', 'SECRET_ACCESS_KEY', 'SESSION_TOKEN'].flatMap((name) => {
    const value = variables[`AWS_${name}`];
    return value === undefined ? [] : [`aws_${name.toLowerCase()} = ${value}`];
  });
  writeFileSync(file, `[default]\n${lines.join('\n')}\n`, { mode: 0o600 });
}

t.test('every documented flag, in every spelling', { skip }, async (t) => {
  const node = await createNode();
  t.teardown(() => node.close());
  for (const [name, args] of Object.entries(SPELLINGS)) {
    const broker = await startBroker({
      t,
      node,
      args,
      env: { AWS_REGION: 'us-east-1', AWS_EC2_METADATA_DISABLED: 'true' },
      waitUntilReady: false,
    });
    await broker.logged(({ msg }) => msg === 'ready');
    const addresses = broker
      .logs()
      .flatMap(({ msg, address }) => (msg === 'listening' ? [address] : []));
    t.strictSame(
      addresses.toSorted(),
      [
        '127.0.0.1:2713',
        '127.0.0.1:2715',
        '169.254.170.23:8080',
        '[::1]:2713',
        '[fd00:ec2::23]:8080',
      ],
      name,
    );
    t.equal(await broker.stop(), 0);
  }
});
