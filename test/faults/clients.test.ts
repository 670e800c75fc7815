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
import { ask, type Cluster, given, holds, startCluster, total } from './cluster.ts';

// Hostile and clumsy clients.

/** By how much the limits of the node's own addresses exceed those of pods. */
const OWN = 10;

t.jobs = 2;

/** The service account that credentials were issued for. */
function owner(cluster: Cluster, accessKeyId: string): string | undefined {
  return cluster.calls().find(({ issuedAccessKeyId }) => issuedAccessKeyId === accessKeyId)
    ?.serviceAccount;
}

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
  /** What a pod's two clients are answered, `pause` between requests, while something goes on. */
  const beside = async (goesOn: () => Promise<unknown>) => {
    const load = await asking(honest, CREDENTIALS, known, '--clients=1', '--pause=10');
    await goesOn();
    return (await load.end()) as { answered: number; failures: Record<string, number> };
  };
  return { broker, simulator, node, token, known, hostile, honest, run, asking, beside };
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
    // A machine that is busy with other work may give either of the two less than its share.
    for (let attempt = 1; ; attempt += 1) {
      const quiet = await beside(burning);
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
      const loud = await beside(flooding);
      const ratio = loud.answered / quiet.answered;
      const lost = [quiet.failures, loud.failures];
      t.comment(`answers to an honest pod: ${quiet.answered} → ${loud.answered}`, ...lost);
      if ((ratio < 0.8 || Object.keys(loud.failures).length > 0) && attempt < 4) continue;
      t.strictSame(lost, [{}, {}], "other pods' requests are served");
      t.ok(ratio >= 0.8, `${Math.round(ratio * 100)} % of what it has beside a pod that burns CPU`);
      break;
    }
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
      for (let attempt = 1; ; attempt += 1) {
        const quiet = await beside(burning);
        const loud = await beside(async () => {
          const url = `http://169.254.170.23:2705/${path}`;
          const flood = await asking(hostile, url, 'none', '--clients=32');
          await pause(3_000);
          const { answered, failures } = await flood.end();
          t.comment(`/${path} to a hostile pod: ${answered}, ${JSON.stringify(failures)}`);
        });
        const ratio = loud.answered / quiet.answered;
        const lost = [quiet.failures, loud.failures];
        t.comment(`answers to an honest pod: ${quiet.answered} → ${loud.answered}`, ...lost);
        if ((ratio < 0.8 || Object.keys(loud.failures).length > 0) && attempt < 4) continue;
        t.strictSame(lost, [{}, {}]);
        t.ok(ratio >= 0.8, `/${path}: ${Math.round(ratio * 100)} %`);
        break;
      }
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

t.test('clients that are slow, silent or half gone', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const broker = await cluster.broker();
  const { token } = cluster.pod('web');
  await given(t, broker, token);
  const whole = `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${token}\r\n\r\n`;

  const [silent, slow, stuck, halfOpen, halfClosed, reset] = await Promise.all([
    converse(broker, async () => undefined),
    converse(broker, async (socket) => {
      for (const letter of whole) {
        if (socket.destroyed) return;
        socket.write(letter);
        await pause(200);
      }
    }),
    converse(broker, async (socket) => void socket.write(whole.slice(0, 200))),
    // Says that it is done, and has asked nothing.
    converse(broker, async (socket) => void socket.end()),
    converse(broker, async (socket) => void socket.end(whole)),
    converse(broker, async (socket) => {
      socket.write(whole.slice(0, 100));
      await pause(100);
      socket.resetAndDestroy();
    }),
  ]);
  for (const { text, took } of [silent, slow, stuck]) {
    t.match(text, /^(HTTP\/1\.1 408 |$)/);
    t.ok(took > 3_000 && took < 12_000, `closed after ${Math.round(took)} ms`);
  }
  t.equal(halfOpen.text, '');
  t.ok(halfOpen.took < 3_000);
  t.match(halfClosed.text, /^HTTP\/1\.1 200 /, 'who has asked is answered');
  t.equal(reset.text, '');
  t.equal((await ask(broker, token)).status, 200);
  const told = [silent, slow, stuck].filter(({ text }) => text !== '').length;
  t.ok(told >= 2, `${told} are told`);
  const counted = (await broker.metrics()).get('pod_identity_http_response{code="408"}');
  t.ok((counted ?? 0) >= told, `and all are counted: ${counted}`);
});

t.test('answers of a pipeline are those of its requests', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { latency: 100 });
  cluster.associate('web', 'api', 'cold');
  const broker = await cluster.broker();
  const tokens = ['web', 'api', 'cold'].map((account) => cluster.pod(account).token);
  await given(t, broker, tokens[0] as string);
  await given(t, broker, tokens[1] as string);
  const order = Array.from({ length: 15 }, (_, index) => (index * 7) % 3);
  const requests = order.map(
    (pod) =>
      `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${tokens[pod]}\r\n\r\n`,
  );
  const { text } = await converse(broker, async (socket) => {
    socket.write(requests.join(''));
    socket.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n');
  });
  const keys = [...text.matchAll(/"AccessKeyId":"(\w+)"/g)].map(([, key]) => key as string);
  t.strictSame(
    keys.map((key) => owner(cluster, key)),
    order.map((pod) => ['web', 'api', 'cold'][pod]),
  );
  t.equal(cluster.calls('cold').length, 1);
});

t.test('requests within requests', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('outer', 'inner');
  const broker = await cluster.broker({ args: ['-v=trace'] });
  const outer = cluster.pod('outer').token;
  await given(t, broker, outer);
  const inner = cluster.pod('inner').token;
  const smuggled = `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${inner}\r\n\r\n`;
  const chunk = `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`;
  const head = `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${outer}\r\n`;
  for (const [name, bytes] of Object.entries({
    'two lengths': `${head}Content-Length: 0\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    'one length twice': `${head}Content-Length: ${smuggled.length}\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    'two lengths in one': `${head}Content-Length: 0, ${smuggled.length}\r\n\r\n${smuggled}`,
    'a length with a sign': `${head}Content-Length: +${smuggled.length}\r\n\r\n${smuggled}`,
    'a body': `${head}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    'a body in chunks': `${head}Transfer-Encoding: chunked\r\n\r\n${chunk}`,
    'chunks and a length': `${head}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n${chunk}`,
    'a length and chunks': `${head}Content-Length: ${chunk.length}\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`,
    'an odd coding': `${head}Transfer-Encoding: xchunked\r\n\r\n${chunk}`,
    'chunks twice': `${head}Transfer-Encoding: chunked, chunked\r\n\r\n${chunk}`,
    'a space before the colon': `${head}Transfer-Encoding : chunked\r\n\r\n${chunk}`,
    'a chunk of a wrong size': `${head}Transfer-Encoding: chunked\r\n\r\n1\r\n${smuggled}0\r\n\r\n`,
    'a chunk extension': `${head}Transfer-Encoding: chunked\r\n\r\n1;\n${smuggled}\r\nx\r\n0\r\n\r\n`,
    'a folded header': `${head}X-Folded: a\r\n ${smuggled}`,
    'a folded Authorization': `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization:\r\n ${inner}\r\n\r\n`,
    'bare line feeds': `${head.replaceAll('\r\n', '\n')}\n${smuggled.replaceAll('\r\n', '\n')}`,
    'a bare line feed in a header': `${head}X-Split: a\nAuthorization: ${inner}\r\n\r\n`,
    'a bare carriage return': `${head}X-Split: a\rAuthorization: ${inner}\r\n\r\n`,
    'a null byte': `${head}X-Null: a\u0000b\r\n\r\n`,
    'an upgrade': `${head}Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`,
    'the preface of HTTP/2': `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${smuggled}`,
  })) {
    const { text } = await converse(broker, async (socket) => {
      socket.write(bytes, 'latin1');
      await pause(400);
      socket.end();
    });
    const keys = [...text.matchAll(/"AccessKeyId":"(\w+)"/g)].map(([, key]) => key as string);
    const owners = keys.map((key) => owner(cluster, key));
    t.ok(
      owners.every((one) => one === 'outer'),
      `${name}: ${text.slice(0, 40).split('\r\n')[0] || 'closed'}, ${owners.length} bodies`,
    );
    t.ok(owners.length <= 1, `${name}: one request, one answer`);
    t.equal(cluster.calls('inner').length, 0, `${name}: nothing within it is a request`);
  }
  for (const [name, line, status] of [
    ['absolute form', 'GET http://127.0.0.1/v1/credentials HTTP/1.1', /^(404|200)$/],
    [
      'absolute form of another host',
      'GET http://evil.example/v1/credentials HTTP/1.1',
      /^40[34]$/,
    ],
    ['authority form', 'CONNECT 127.0.0.1:443 HTTP/1.1', /^(4\d\d|)$/],
    ['asterisk form', 'OPTIONS * HTTP/1.1', /^40[45]$/],
    ['a path that leads up', 'GET /v1/../v1/credentials HTTP/1.1', /^404$/],
    ['an encoded path', 'GET /v1/%63redentials HTTP/1.1', /^404$/],
    ['two slashes', 'GET //v1/credentials HTTP/1.1', /^404$/],
    ['no version', 'GET /v1/credentials', /^(200|400|)$/],
    ['an odd version', 'GET /v1/credentials HTTP/3.7', /^(400|505|)$/],
  ] as const) {
    const bytes = `${line}\r\nHost: 127.0.0.1\r\nAuthorization: ${inner}\r\nConnection: close\r\n\r\n`;
    const { text } = await converse(broker, async (socket) => void socket.write(bytes));
    t.match(text.slice(9, 12), status, name);
  }
  t.equal((await ask(broker, outer)).status, 200);
  const log = broker.lines.join('\n') + broker.stderr();
  for (const [what, secret] of Object.entries({ outer, inner })) {
    const [, , signature = ''] = secret.split('.');
    t.notOk(log.includes(signature.slice(0, 40)), `no token in the log: ${what}`);
  }
});

t.test('headers that are too long or too many', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const broker = await cluster.broker({ args: ['-v=trace'] });
  const { token } = cluster.pod('web');
  await given(t, broker, token);
  const head = `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${token}\r\n`;
  const marker = 'only-the-client-knows-this';
  const many = (count: number) =>
    Array.from({ length: count }, (_, index) => `X-${index}: ${marker}\r\n`).join('');
  for (const [name, bytes, status] of [
    ['a header of 20 KiB', `${head}X-Long: ${marker.repeat(800)}\r\n\r\n`, /^431$/],
    ['5,000 headers', `${head}${many(5_000)}\r\n`, /^431$/],
    ['300 headers', `${head}${many(300)}\r\n`, /^(200|431)$/],
    ['a path of 20 KiB', `GET /${marker.repeat(800)} HTTP/1.1\r\n\r\n`, /^(431|414)$/],
    ['a token of 15 KiB', head.replace(token, marker.repeat(580)).concat('\r\n'), /^400$/],
    ['what is no HTTP', `${marker}\r\n\r\n${marker}`, /^400$/],
    [
      'TLS',
      Buffer.from(`\u0016\u0003\u0001\u0002\u0000${marker}`, 'latin1').toString('latin1'),
      /^400$/,
    ],
    ['a method that there is not', `${marker} / HTTP/1.1\r\n\r\n`, /^400$/],
  ] as const) {
    const { text } = await converse(broker, async (socket) => {
      socket.write(bytes, 'latin1');
      await pause(300);
      socket.end();
    });
    t.match(text.slice(9, 12), status, name);
    t.notMatch(text, marker, 'and nothing of it comes back');
  }
  // Endless headers: what is not read is not kept.
  const before = memory(broker);
  const { text } = await converse(broker, async (socket) => {
    socket.write(head);
    for (let piece = 0; piece < 2_000 && !socket.destroyed; piece += 1) {
      if (!socket.write(`X-${piece}: ${'x'.repeat(16_000)}\r\n`)) {
        const { promise, resolve } = Promise.withResolvers<void>();
        for (const event of ['drain', 'close', 'error']) socket.once(event, () => resolve());
        await promise;
      }
    }
  });
  t.match(text.slice(9, 12), /^(431|)$/);
  t.ok(memory(broker) < before + 60, `${Math.round(before)} → ${Math.round(memory(broker))} MiB`);
  t.equal((await ask(broker, token)).status, 200);
  t.ok((await total(broker, 'pod_identity_http_response')) > 8, 'they are counted');
  const log = broker.lines.join('\n') + broker.stderr();
  t.notMatch(log, marker, 'the log has none of the bytes');
  t.match(log, /HPE_/, 'but the code of what was wrong');
});

t.test('caches that are too small: slower, never wrong', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { keyAlgorithm: 'ES256' });
  const accounts = Array.from({ length: 20 }, (_, index) => `account-${index}`);
  cluster.associate(...accounts);
  const broker = await cluster.broker({ args: ['--max-cache-size=5', '--max-verified-tokens=10'] });
  const pods = accounts.flatMap((account) => [cluster.pod(account), cluster.pod(account)]);
  for (let round = 0; round < 3; round += 1) {
    const replies = await Promise.all(
      pods.map(async (pod) => ({ pod, ...(await given(t, broker, pod.token)) })),
    );
    t.strictSame(
      replies
        .filter(({ pod, body }) => owner(cluster, body.AccessKeyId) !== pod.serviceAccount)
        .map(({ pod }) => pod.name),
      [],
      'each has its own role',
    );
    t.ok((await total(broker, 'pod_identity_broker_sessions')) <= 5);
    t.ok((await total(broker, 'pod_identity_broker_verified_tokens')) <= 10);
  }
  for (const pod of pods.slice(0, 10)) {
    const { status, body } = await ask(broker, pod.token);
    t.equal(status, 200);
    t.equal(owner(cluster, body.AccessKeyId), pod.serviceAccount);
  }
  const metrics = await broker.metrics();
  t.ok((metrics.get('pod_identity_cache_state{state="evicted"}') ?? 0) >= 15);
  t.ok(cluster.calls().length <= 3 * 40 + 10 + 1);
  t.equal(cluster.simulator.counts().doubleFetches.serviceAccount, 0);
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
