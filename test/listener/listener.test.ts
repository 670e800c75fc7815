import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import t, { type Test } from 'tap';
import { freePort } from '../../src/simulator/free-port.ts';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { ask } from '../support/ask.ts';
import { runProgram, startBroker } from '../support/broker-process.ts';
import { capturedLog } from '../support/captured-log.ts';
import { until } from '../support/until.ts';
import { type InProcessBroker, startInProcess } from './in-process-broker.ts';
import { RawClient } from './raw-client.ts';

function request(token: string): string {
  return `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${token}\r\n\r\n`;
}

/** How many calls to EKS Auth are under way, waited for. */
async function underWay(broker: InProcessBroker, count: number): Promise<void> {
  const counted = () => broker.simulator.counts().inFlight;
  await until(() => counted() >= count, `${count} calls are under way`);
}

/** How many connections of pods are open. */
async function connections({ metricsPort }: InProcessBroker): Promise<number> {
  const page = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
  const [, count] = /^pod_identity_broker_connections (\d+)$/m.exec(await page.text()) ?? [];
  return Number(count);
}

async function opened(t: Test, broker: InProcessBroker): Promise<RawClient> {
  const client = await RawClient.open(broker.port);
  t.teardown(() => client.close());
  return client;
}

t.test('every address that was named answers', async (t) => {
  const broker = await startInProcess(t, { args: ['--bind-hosts=[::1]'] });
  const token = broker.token();
  for (const [host, named] of [
    ['127.0.0.1', '127.0.0.1'],
    ['::1', '[::1]'],
  ] as const) {
    const client = await RawClient.open(broker.port, host);
    client.send(request(token).replace('Host: 127.0.0.1', `Host: ${named}`));
    t.equal((await client.answer()).status, 200, host);
    client.close();
  }
});

t.test('all addresses of both families, each in a socket of its own', async (t) => {
  for (const hosts of [['0.0.0.0', '::'], ['::', '127.0.0.1'], ['::'], ['localhost']]) {
    const broker = await startInProcess(t, { hosts });
    const token = broker.token();
    const families = hosts[0] === 'localhost' ? ['localhost'] : ['127.0.0.1', '::1'];
    for (const host of families) {
      const client = await RawClient.open(broker.port, host);
      client.send(request(token).replace('127.0.0.1', '169.254.170.23'));
      t.equal((await client.answer()).status, 200, `${hosts.join(' and ')}: ${host}`);
      client.close();
    }
    t.equal((await ask(broker.probePort, '/readyz', 'GET', {})).status, 200);
    await broker.stop();
  }
});

t.test('an address that was named and is not there ends the program', async (t) => {
  const { code, stdout, stderr } = await runProgram(
    ['server', '--cluster-name=x', '--bind-hosts=192.0.2.1', `--port=${await freePort()}`],
    {
      env: {
        AWS_REGION: 'us-east-1',
        AWS_EC2_METADATA_DISABLED: 'true',
        POD_IDENTITY_BROKER_PROBE_PORT: String(await freePort()),
        POD_IDENTITY_BROKER_METRICS_PORT: String(await freePort()),
      },
    },
  );
  t.equal(code, 1);
  t.equal(stderr, '');
  const last = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '');
  t.match(last, { level: 'fatal', reason: '192.0.2.1 is not an address of this node' });
});

t.test('a port that is taken is picked up when it is free', async (t) => {
  const port = await freePort();
  const holder = createServer().listen(port, '127.0.0.1');
  await once(holder, 'listening');
  t.teardown(() => holder.close());
  const logged = capturedLog();
  const starting = startInProcess(t, { args: [`--port=${port}`], logged });
  const waits = () => logged.lines.some(({ msg }) => msg === 'port is taken; waiting for it');
  await until(waits, 'it waits for the port');
  holder.close();
  const broker = await starting;
  const answer = await ask(port, '/v1/credentials', 'GET', { Authorization: broker.token() });
  t.equal(answer.status, 200);
});

t.test('hundreds of new tokens at once are read, judged and answered a few a turn', async (t) => {
  const broker = await startInProcess(t);
  const warm = { Authorization: broker.token() };
  t.equal((await ask(broker.port, '/v1/credentials', 'GET', warm)).status, 200);
  const clients = await Promise.all(Array.from({ length: 300 }, () => opened(t, broker)));
  await until(async () => (await connections(broker)) >= 300, 'all are accepted');
  const tokens = clients.map(() => broker.token());
  const counts = { began: 0, answered: 0 };
  const count = (what: keyof typeof counts) => (message: unknown) => {
    const { request } = message as { request: IncomingMessage };
    if (request.url === '/v1/credentials') counts[what] += 1;
  };
  const counted = { began: count('began'), answered: count('answered') };
  subscribe('http.server.request.start', counted.began);
  subscribe('http.server.response.finish', counted.answered);
  t.teardown(() => {
    unsubscribe('http.server.request.start', counted.began);
    unsubscribe('http.server.response.finish', counted.answered);
  });
  for (const [index, client] of clients.entries()) client.send(request(tokens[index] as string));
  const most = { began: 0, answered: 0 };
  while (counts.answered < 300) {
    const before = { ...counts };
    await new Promise(setImmediate);
    for (const what of ['began', 'answered'] as const) {
      most[what] = Math.max(most[what], counts[what] - before[what]);
    }
  }
  t.ok(most.began > 30 && most.began <= 64, `${most.began} are read in one turn`);
  t.ok(most.answered <= 64, `${most.answered} are answered in one turn`);
  for (const client of clients) t.equal((await client.answer()).status, 200);
});

t.test('stop: what is under way is answered, as the last on its connection', async (t) => {
  const broker = await startInProcess(t, { args: ['--client-wait=5s'] });
  broker.simulator.faults.add({ kind: 'slow', delay: 700, calls: 1 });
  const client = await opened(t, broker);
  client.send(request(broker.token()));
  await underWay(broker, 1);
  const stopping = broker.stop();
  await t.rejects(RawClient.open(broker.port), { code: 'ECONNREFUSED' }, 'nothing new is accepted');
  const answer = await client.answer();
  t.equal(answer.status, 200);
  t.equal(answer.headers.connection, 'close');
  await client.end();
  await stopping;
});

t.test('stop: errors are the last answers of their connections too', async (t) => {
  const broker = await startInProcess(t);
  const clients = [await opened(t, broker), await opened(t, broker)] as const;
  // A connection is the broker's when it has been used.
  for (const client of clients) {
    client.send('GET /other HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    t.not((await client.answer()).headers.connection, 'close');
  }
  const stopping = broker.stop();
  clients[0].send('GET /other HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
  const answer = await clients[0].answer();
  t.equal(answer.status, 404, 'a kept connection may ask once more');
  t.equal(answer.headers.connection, 'close');
  await clients[0].end();
  await clients[1].end();
  t.equal(clients[1].rest, '', 'one that is idle ends');
  await stopping;
});

t.test('stop: who was accepted and has not asked yet is answered', async (t) => {
  const broker = await startInProcess(t);
  const token = broker.token();
  const warm = await ask(broker.port, '/v1/credentials', 'GET', { Authorization: token });
  t.equal(warm.status, 200);
  const client = await opened(t, broker);
  client.send(request(token).slice(0, 40));
  await until(async () => (await connections(broker)) > 0, 'it is accepted');
  const stopping = broker.stop();
  client.send(request(token).slice(40));
  const answer = await client.answer();
  t.equal(answer.status, 200);
  t.equal(answer.headers.connection, 'close');
  await stopping;
});

t.test('stop: it takes a bounded time, whatever clients do', async (t) => {
  const broker = await startInProcess(t, {
    args: ['--client-wait=500ms', '--flight-timeout=2s'],
    simulator: { latency: 60_000 },
  });
  const silent = await opened(t, broker);
  const half = await opened(t, broker);
  half.send('GET /v1/credentials HTTP/1.1\r\n');
  const waiting = await opened(t, broker);
  waiting.send(request(broker.token()));
  await underWay(broker, 1);
  const began = performance.now();
  const stopping = broker.stop();
  t.equal((await waiting.answer()).status, 503, 'who waits is answered');
  await Promise.all([silent.end(), half.end(), stopping]);
  const took = performance.now() - began;
  t.ok(took < 5_000, `the wait of a client and a second, here ${Math.round(took)} ms`);
});

t.test('stop, as a process: exit 0', async (t) => {
  // No issuer is known: EKS Auth judges the token, and takes its time.
  const simulator = await startSimulator({ keyAlgorithm: 'ES256', latency: 60_000 });
  t.teardown(() => simulator.close());
  await Promise.all(
    (['SIGTERM', 'SIGINT'] as const).map(async (signal) => {
      const broker = await startBroker({ t, simulator, args: ['--client-wait=200ms'] });
      const { token } = simulator.kubelet.createPod({ namespace: 'shop', serviceAccount: 'cart' });
      t.equal((await broker.get(token)).status, 503);
      t.equal(await broker.stop(signal), 0, `${signal} with a call under way`);
      t.strictSame(
        broker.logs().filter(({ level }) => ['error', 'fatal'].includes(level)),
        [],
      );
    }),
  );
});
