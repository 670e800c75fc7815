import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { startBroker } from '../support/broker-process.ts';
import { needsNamespaces } from '../support/needs.ts';
import { associate, type NodeCluster, nodeFor } from '../support/node-cluster.ts';
import { until } from '../support/until.ts';

// A node that moves from another agent to the broker, and back: how long its pods are answered by
// nobody, by what they see of it.

const URLS = ['http://169.254.170.23/v1/credentials', 'http://[fd00:ec2::23]/v1/credentials'];
const MOVES = 3;
/** Milliseconds within which the broker answers on a port that was released. */
const MAX_GAP = 1_000;

const OTHER_AGENT = fileURLToPath(new URL('../support/other-agent.ts', import.meta.url));
const GAP_METER = fileURLToPath(new URL('../support/gap-meter.ts', import.meta.url));

/** Starts what stands in for the existing agent. */
async function startOther({ node }: NodeCluster) {
  const child = node.exec(process.execPath, [OTHER_AGENT], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const lines: string[] = [];
  output.on('line', (line) => lines.push(line));
  await until(() => lines.includes('started'), 'the other agent is started');
  return { child, listens: () => until(() => lines.includes('listening'), 'it has the ports') };
}

/** A pod that asks all the time, one process for each address. */
async function startPod(t: Test, { node, simulator }: NodeCluster) {
  const place = await node.createPod();
  const { token } = await simulator.kubelet.createPod({
    namespace: 'default',
    serviceAccount: 'web',
  });
  const meters = URLS.map((url) => {
    const args = [GAP_METER, `--url=${url}`, `--token=${token}`];
    const child = place.exec(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    t.teardown(() => child.kill());
    const changes: { readonly agent: string; readonly gap?: number }[] = [];
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) =>
      changes.push(JSON.parse(line)),
    );
    return changes;
  });
  return {
    /** Waits until another agent answers on all addresses: the gaps, in milliseconds. */
    answeredBy: async (agent: string): Promise<number[]> => {
      await until(
        () => meters.every((changes) => changes.at(-1)?.agent === agent),
        `the pod is answered by ${agent}`,
      );
      return meters.map((changes) => changes.at(-1)?.gap ?? 0);
    },
  };
}

t.test('a node moves to the broker, and back', { skip: needsNamespaces() }, async (t) => {
  const cluster = await nodeFor(t);
  const { node, simulator } = cluster;
  await associate(cluster, 'web');
  let other = await startOther(cluster);
  await other.listens();
  const pod = await startPod(t, cluster);
  await pod.answeredBy('other');
  const folder = await mkdtemp(join(tmpdir(), 'broker-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const [there, back]: [number[], number[]] = [[], []];
  for (let move = 0; move < MOVES; move += 1) {
    const broker = await startBroker({
      t,
      node,
      simulator: { ...simulator, url: 'http://127.0.0.1:8090' },
      args: [`--token-issuer=${simulator.issuer}`, `--admin-socket=${folder}/admin.sock`],
      waitUntilReady: false,
    });
    for (const address of ['169.254.170.23:80', '[fd00:ec2::23]:80']) {
      await broker.logged((line) => /port is taken/.test(line.msg) && line.address === address);
    }
    other.child.kill();
    there.push(...(await pod.answeredBy('broker')));
    await broker.logged(({ msg }) => msg === 'ready');

    // It waits for the ports. The existing agent does not, and is started again by the kubelet.
    other = await startOther(cluster);
    const stopped = broker.stop();
    back.push(...(await pod.answeredBy('other')));
    t.equal(await stopped, 0);
    await other.listens();
  }
  t.comment(`to the broker: ${there.join(', ')} ms; back: ${back.join(', ')} ms`);
  for (const gap of there) t.ok(gap < MAX_GAP, `${gap} ms`);
  for (const gap of back) t.ok(gap < MAX_GAP, `back: ${gap} ms`);
});
