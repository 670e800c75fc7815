import { type ChildProcess, execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { runPod } from '../../src/simulator/demo/run-pod.ts';
import { createNode, type NodeNamespace, namespacesProblem } from '../../src/simulator/netns.ts';
import { type BrokerProcess, type LogLine, startBroker } from '../support/broker-process.ts';
import { needsAwsCli, needsNamespaces } from '../support/needs.ts';
import { associate, type NodeCluster, nodeFor, SIMULATOR_PORT } from '../support/node-cluster.ts';
import { until } from '../support/until.ts';

const URIS = {
  IPv4: 'http://169.254.170.23/v1/credentials',
  IPv6: 'http://[fd00:ec2::23]/v1/credentials',
} as const;
type Family = keyof typeof URIS;

const skip = needsNamespaces();

/** A pod in a namespace of its own, with all that it is given. */
async function podFor({ node, simulator }: NodeCluster, serviceAccount: string, family: Family) {
  const place = await node.createPod();
  const pod = await simulator.kubelet.createPod({ namespace: 'default', serviceAccount });
  const home = dirname(pod.tokenFile as string);
  mkdirSync(home, { recursive: true });
  const environment = {
    ...(await pod.environment(URIS[family])),
    AWS_ENDPOINT_URL_STS: `http://${node.address4}:${SIMULATOR_PORT}`,
    HOME: home,
  };
  return { pod, place, environment, address: family === 'IPv4' ? place.address4 : place.address6 };
}

type TestPod = Awaited<ReturnType<typeof podFor>>;

/** What the AWS CLI says who the pod is. */
async function callerIdentity({ place, environment }: TestPod) {
  const child = place.exec('aws', ['sts', 'get-caller-identity'], {
    env: { ...environment, PATH: process.env.PATH },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const [code] = await once(child, 'close');
  return { code, ...(JSON.parse(text || '{}') as { Arn?: string }) };
}

const unaborted = new AbortController().signal;
const handed = (pod: string) => (line: LogLine) =>
  line.msg === 'credentials handed to pod' && line.pod === pod;

t.test('pods of a node get their credentials, over both families', { skip }, async (t) => {
  const cluster = await nodeFor(t);
  const { node, simulator } = cluster;
  await associate(cluster, 'web');
  await associate(cluster, 'batch');
  const broker = await startBroker({ t, node, simulator });
  const listening = broker.logs().filter((line) => line.msg === 'listening');
  t.strictSame(
    new Set(listening.map((line) => line.address)),
    new Set([
      '169.254.170.23:80',
      '[fd00:ec2::23]:80',
      '127.0.0.1:2703',
      '[::1]:2703',
      '0.0.0.0:2705',
    ]),
  );

  // The first pod's token is what the broker learns the issuer from.
  const pods = [
    await podFor(cluster, 'web', 'IPv4'),
    await podFor(cluster, 'web', 'IPv6'),
    await podFor(cluster, 'batch', 'IPv6'),
    await podFor(cluster, 'web', 'IPv4'),
  ];
  for (const { place, environment, pod } of pods) {
    t.strictSame(await runPod(place, environment, unaborted), {
      roles: [pod.serviceAccount],
      failure: undefined,
    });
  }
  for (const { pod, address } of pods) {
    t.match(await broker.logged(handed(pod.name)), {
      podUid: pod.uid,
      serviceAccount: pod.serviceAccount,
      address,
    });
  }

  await t.test('to the AWS CLI', { skip: needsAwsCli() }, async (t) => {
    for (const family of ['IPv4', 'IPv6'] as const) {
      const pod = await podFor(cluster, 'web', family);
      t.match(await callerIdentity(pod), { code: 0, Arn: /:assumed-role\/web\/eks-simulated-/ });
      t.equal((await broker.logged(handed(pod.pod.name))).address, pod.address);
    }
  });

  const counts = await simulator.counts();
  t.match(counts.serviceAccounts, {
    'default/web': { calls: 1, succeeded: 1 },
    'default/batch': { calls: 1, succeeded: 1 },
  });
  const { size } = new Set(
    broker.logs().flatMap((line) => (line.serviceAccount === 'web' ? [line.assumedRole] : [])),
  );
  t.equal(size, 1, 'one role session for all pods of a service account');
  t.equal(await broker.stop(), 0);
});

t.test('a node without IPv6', { skip }, async (t) => {
  const cluster = await nodeFor(t, { ipv6: false });
  await associate(cluster, 'web');
  const { node, simulator } = cluster;
  const broker = await startBroker({ t, node, simulator });
  t.match(await broker.logged((line) => line.address === 'fd00:ec2::23'), {
    level: 'warn',
    msg: /fd00:ec2::23 is not an address of this node; going on without it/,
  });
  const { place, environment } = await podFor(cluster, 'web', 'IPv4');
  t.match(await runPod(place, environment, unaborted), { roles: ['web'], failure: undefined });
  t.equal(await broker.probe('healthz'), 200);
});

t.test('an address that was named and is not there', { skip }, async (t) => {
  const node = await createNode();
  t.teardown(() => node.close());
  for (const address of ['10.9.8.7', 'fd00:ec2::24']) {
    const broker = await startFailing(t, node, [
      '--cluster-name=c',
      '--bind-hosts=169.254.170.23',
      `--bind-hosts=${address}`,
    ]);
    t.equal(await broker.exited, 1);
    t.match(await broker.logged(({ level }) => level === 'fatal'), {
      reason: `${address} is not an address of this node`,
    });
  }
});

t.test('a port that is taken is picked up when it is free', { skip }, async (t) => {
  const node = await createNode();
  t.teardown(() => node.close());
  const holder = await takePort(node);
  const broker = await startFailing(t, node, ['--cluster-name=c']);
  t.match(await broker.logged((line) => /port is taken/.test(line.msg)), {
    level: 'warn',
    address: '169.254.170.23:80',
    holder: new RegExp(`\\(pid ${holder.pid}\\)`),
  });
  await pause(1_200);
  const said = broker.logs().filter((line) => /port is taken/.test(line.msg));
  t.equal(said.length, 1, 'says so once');
  t.not(await broker.probe('readyz'), 200, 'not ready without its main address', {});
  holder.kill();
  await broker.logged((line) => line.msg === 'ready');
  // A check's result stands for half a second, so the last one without the port may still do.
  await until(async () => (await broker.probe('readyz')) === 200, 'it is ready');
  t.equal((await broker.get(undefined)).status, 400, 'answers');
});

t.test('a broker that waits for a port can be stopped', { skip }, async (t) => {
  const node = await createNode();
  t.teardown(() => node.close());
  await takePort(node);
  const broker = await startFailing(t, node, ['--cluster-name=c']);
  await broker.logged((line) => /port is taken/.test(line.msg));
  t.equal(await broker.stop(), 0);
});

t.test('namespaces of a run that was killed are taken away by the next', { skip }, async (t) => {
  const { pid } = await ended();
  const name = `pib-${pid}-dead`;
  await ip('netns', 'add', name);
  const node = await createNode();
  const names = (await ip('netns', 'list')).stdout;
  t.notMatch(names, name);
  t.match(names, node.name);
  const left = node.exec('/bin/sleep', ['1000']);
  await node.close();
  t.not(left.signalCode, null, 'what ran in it has ended');
  t.notMatch((await ip('netns', 'list')).stdout, node.name);
});

t.test('says why namespaces cannot be had', async (t) => {
  const { getuid } = process;
  t.teardown(() => {
    process.getuid = getuid as () => number;
  });
  process.getuid = () => 1_000;
  t.match(namespacesProblem(), /need (root|Linux)/);
});

/** Starts a broker, with nothing but these flags, that is not expected to be ready soon. */
function startFailing(t: Test, node: NodeNamespace, args: string[]): Promise<BrokerProcess> {
  return startBroker({ t, node, args, waitUntilReady: false, env: { AWS_REGION: 'us-east-1' } });
}

/** Has another program listen where the broker wants to. */
async function takePort(node: NodeNamespace): Promise<ChildProcess> {
  const script = `require('net').createServer().listen(80, '169.254.170.23', () => console.log())`;
  const child = node.exec(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 2] });
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return child;
}

const run = promisify(execFile);
const ip = (...args: string[]) => run('ip', args);

/** A process that is no more. */
async function ended(): Promise<ChildProcess> {
  const child = execFile('true');
  await once(child, 'close');
  return child;
}
