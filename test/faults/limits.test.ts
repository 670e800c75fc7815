import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { NodeNamespace } from '../../src/simulator/netns.ts';
import { type BrokerProcess, startBroker } from '../support/broker-process.ts';
import { needsNamespaces } from '../support/needs.ts';
import { associate, nodeFor, SIMULATOR_PORT } from '../support/node-cluster.ts';
import { ask, given, holds, startCluster, total } from './cluster.ts';

// Pods that ask too much: floods, rates and connections.

/** By how much the limits of the node's own addresses exceed those of pods. */
const OWN = 10;

/** Resident memory, MiB (proc_pid_status(5)). */
function memory({ pid }: BrokerProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024;
}

const FLOOD = fileURLToPath(new URL('flood.ts', import.meta.url));
const LOAD = fileURLToPath(new URL('../support/pod-load.ts', import.meta.url));

/** A node whose pods are network namespaces, and a broker on it; `default/web` and `default/new` have roles. */
async function onNode(t: Test, args: readonly string[] = []) {
  const cluster = await nodeFor(t);
  const { node, simulator } = cluster;
  await associate(cluster, 'web');
  await associate(cluster, 'new');
  const folder = await mkdtemp(join(tmpdir(), 'broker-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const broker = await startBroker({
    t,
    node,
    simulator: { ...simulator, url: `http://127.0.0.1:${SIMULATOR_PORT}` },
    args: [`--token-issuer=${simulator.issuer}`, `--admin-socket=${folder}/admin.sock`, ...args],
  });
  const token = async (serviceAccount: string) =>
    (await simulator.kubelet.createPod({ namespace: 'default', serviceAccount })).token;
  const known = await token('web');
  t.equal((await broker.get(known)).status, 200);
  const [hostile, honest] = [await node.createPod(), await node.createPod()];
  /** Runs a script in a pod, or on the node; `end` ends it, and gives its last line. */
  const run = async (
    place: Pick<NodeNamespace, 'exec'>,
    file: string,
    ...flags: readonly string[]
  ) => {
    const child = place.exec(process.execPath, [file, ...flags], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines: string[] = [];
    const output = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    output.on('line', (line) => lines.push(line));
    const exited = once(child, 'close');
    await Promise.race([once(output, 'line'), exited]);
    const report = async () => {
      await exited;
      const line = lines.at(-1) as string;
      return line.startsWith('{') ? JSON.parse(line) : undefined;
    };
    return {
      report,
      end: () => {
        child.stdin?.end();
        return report();
      },
    };
  };
  /** A pod's clients that ask again and again. */
  const asking = (place: typeof honest, url: string, bearer: string, ...flags: string[]) =>
    run(place, LOAD, `--url=${url}`, `--token=${bearer}`, ...flags);
  /** What a pod's two clients are answered, and how often a second, while something goes on. */
  const beside = async (goesOn: () => Promise<unknown>) => {
    const load = await asking(honest, CREDENTIALS, known, '--clients=1', '--pause=10');
    const began = performance.now();
    await goesOn();
    const seconds = (performance.now() - began) / 1_000;
    const { answered, failures }: Served = await load.end();
    return { answered, failures, rate: answered / seconds };
  };
  return { broker, simulator, node, token, known, hostile, honest, run, asking, beside };
}

/** What came of a pod's clients. */
interface Served {
  readonly answered: number;
  readonly failures: Readonly<Record<string, number>>;
}

/** Rounds that are made at least, and at most: a machine may be busy with other work in any. */
const ROUNDS = { least: 3, most: 9 };

/**
 * Sees that a pod is served beside a flood as it is beside a process that only burns as much CPU:
 * 80 % of the answers at least, in the median of all rounds, and no request fails.
 */
async function isServedAlike(
  t: Test,
  flood: string,
  burning: () => Promise<Served & { readonly rate: number }>,
  flooding: () => Promise<Served & { readonly rate: number }>,
): Promise<void> {
  const percents: number[] = [];
  const median = () => percents.toSorted((a, b) => a - b)[(percents.length - 1) / 2] ?? 0;
  const round = async () => {
    const [quiet, loud] = [await burning(), await flooding()];
    t.strictSame([quiet.failures, loud.failures], [{}, {}], `${flood}: all are served`);
    percents.push(Math.round((loud.rate / quiet.rate) * 100));
  };
  while (percents.length < ROUNDS.least) await round();
  // Two more at a time, so that one of them is in the middle.
  while (median() < 80 && percents.length < ROUNDS.most) {
    await round();
    await round();
  }
  t.ok(
    median() >= 80,
    `${flood}: ${percents.join(', ')} % of the answers beside one that burns CPU`,
  );
}

const CREDENTIALS = 'http://169.254.170.23/v1/credentials';
const SECONDS = '--milliseconds=3000';

t.test(
  'a flood of forged tokens is the trouble of who sends it',
  { skip: needsNamespaces() },
  async (t) => {
    const { broker, simulator, token, hostile, run, beside } = await onNode(t);
    const [forgedFrom, unknown] = [await token('web'), await token('new')];
    const forging = `--token=${forgedFrom}`;
    const burning = async () => (await run(hostile, FLOOD, SECONDS, forging, '--burn')).report();
    const flooding = async () => {
      const flood = await run(hostile, FLOOD, SECONDS, forging, '--rate=2000');
      await pause(1_000);
      t.equal((await broker.get(unknown)).status, 200, 'pods that are new are served');
      t.equal(await broker.probe('healthz'), 200, 'the broker is well');
      const { sent, answers } = await flood.report();
      t.comment(`${sent} forged: ${JSON.stringify(answers)}`);
      t.ok(sent > 4_000, `${sent} forged tokens`);
      t.equal(answers[200], undefined, 'none of them earns anything');
    };
    await isServedAlike(
      t,
      'forged tokens',
      () => beside(burning),
      () => beside(flooding),
    );
    t.ok(
      ((await broker.metrics()).get('pod_identity_broker_connections_refused_total') ?? 0) > 1_000,
      'they are soon not even let in',
    );
    t.equal((await simulator.counts()).assumeRole.calls, 2, 'and no call is made for it');
    t.ok(memory(broker) < 300, `${Math.round(memory(broker))} MiB`);
  },
);

t.test(
  'a flood of the ports of metrics and probes is no trouble of pods',
  { skip: needsNamespaces() },
  async (t) => {
    const { broker, known, hostile, run, asking, beside } = await onNode(t);
    const before = memory(broker);
    const forging = `--token=${known}`;
    const burning = async () => (await run(hostile, FLOOD, SECONDS, forging, '--burn')).report();
    for (const path of ['metrics', 'healthz']) {
      const flooding = async () => {
        const url = `http://169.254.170.23:2705/${path}`;
        const flood = await asking(hostile, url, 'none', '--clients=32');
        await pause(3_000);
        const { answered, failures } = await flood.end();
        t.comment(`/${path} to a hostile pod: ${answered}, ${JSON.stringify(failures)}`);
      };
      await isServedAlike(
        t,
        `/${path}`,
        () => beside(burning),
        () => beside(flooding),
      );
    }
    const pipeline = `GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(1_700);
    await Promise.all(
      Array.from({ length: 8 }, () =>
        converse({ port: broker.metricsPort }, async (socket) => void socket.write(pipeline)),
      ),
    );
    t.equal(await broker.probe('healthz'), 200);
    t.ok((await broker.metrics()).size > 50, 'who scrapes is still answered');
    t.ok(memory(broker) < before + 80, `${Math.round(before)} → ${Math.round(memory(broker))} MiB`);
  },
);

t.test('an address may ask only so often', { skip: needsNamespaces() }, async (t) => {
  const { simulator, token, hostile, asking, beside } = await onNode(t, ['--max-pod-qps=50']);
  const greedy = await token('web');
  const honest = await beside(async () => {
    const load = await asking(hostile, CREDENTIALS, greedy, '--clients=8', '--pause=5');
    await pause(2_000);
    const { failures, answered } = await load.end();
    t.comment(`${answered} answers, ${JSON.stringify(failures)}`);
    t.ok(failures['status 429'] > 100, 'what is too much');
    // Five seconds' worth at once.
    t.ok(answered - failures['status 429'] >= 250);
    await pause(1_500);
    const again = await asking(hostile, CREDENTIALS, greedy, '--clients=1', '--pause=500');
    await pause(200);
    t.strictSame((await again.end()).failures, {}, 'and soon it may again');
  });
  t.strictSame(honest.failures['status 429'], undefined, 'other pods may');
  t.equal((await simulator.counts()).assumeRole.calls, 1);
});

t.test('refusals of one on the host network fail no probe', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const broker = await cluster.broker({ args: ['--max-pod-qps=2'] });
  const shutOut = async () => (await ask(broker, 'no.token.atall')).status === 0;
  t.ok(await holds(shutOut, 20_000), 'the address of the probes is not let in any more');
  t.equal(await broker.probe('healthz'), 200);
  t.equal(await broker.probe('readyz'), 200);
  t.ok(await shutOut(), 'all the while');
});

t.test('--max-pod-qps=0 is no bound', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const broker = await cluster.broker({ args: ['--max-pod-qps=0'] });
  const { token } = cluster.pod('web');
  await given(t, broker, token);
  const replies = await Promise.all(Array.from({ length: 1_000 }, () => ask(broker, token)));
  t.strictSame(new Set(replies.map(({ status }) => status)), new Set([200]));
});

t.test(
  'dozens of processes of one pod that start at once are honest',
  { buffered: true },
  async (t) => {
    const cluster = await startCluster(t);
    cluster.associate('web');
    // A tenth, since this is an address of the node's own.
    const broker = await cluster.broker({ args: [`--max-pod-qps=${200 / OWN}`] });
    const { token } = cluster.pod('web');
    await given(t, broker, token);
    for (let round = 0; round < 3; round += 1) {
      const replies = await Promise.all(
        Array.from({ length: 200 }, () => ask(broker, token, { from: '127.0.6.1' })),
      );
      t.strictSame(new Set(replies.map(({ status }) => status)), new Set([200]));
    }
  },
);

t.test('connections are bounded by address', { skip: needsNamespaces() }, async (t) => {
  const { broker, node, hostile, run, beside } = await onNode(t);
  const before = memory(broker);
  const refused = () => total(broker, 'pod_identity_broker_connections_refused_total');
  const open = () => total(broker, 'pod_identity_broker_connections');
  const honest = await beside(async () => {
    // Kept for 20 s, and each silent for as long as it may be.
    const ofPod = await run(hostile, FLOOD, '--hoard=600');
    const ofNode = await run(node, FLOOD, '--hoard=4000');
    t.ok(await holds(async () => (await refused()) > 1_000, 15_000), 'what is too much is closed');
    const held = await open();
    t.ok(held > 1_000 && held <= 256 * OWN + 256 + 256 + 4, `${held} are open`);
    t.equal(await broker.probe('healthz'), 200, 'the kubelet has no reason to kill the broker');
    t.equal(await broker.probe('readyz'), 200);
    t.ok(
      memory(broker) < before + 120,
      `${Math.round(before)} → ${Math.round(memory(broker))} MiB`,
    );
    // They have said nothing: that alone ends them, after 5 s.
    t.ok(await holds(async () => (await open()) < 10, 20_000), 'idle connections are closed');
    await Promise.all([ofPod.end(), ofNode.end()]);
  });
  t.strictSame(honest.failures, {}, 'another address is served all the while');
  t.ok(honest.answered > 20, `${honest.answered} times`);
});

/** What came back over a connection, and how long it was open. */
async function converse(
  { port }: Pick<BrokerProcess, 'port'>,
  speak: (socket: Socket) => Promise<void>,
): Promise<{ text: string; took: number }> {
  const started = performance.now();
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.on('error', () => undefined);
  socket.on('end', () => socket.end());
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('close', () => resolve());
  const giveUp = setTimeout(() => socket.destroy(), 20_000);
  await speak(socket);
  await promise;
  clearTimeout(giveUp);
  return { text, took: performance.now() - started };
}
