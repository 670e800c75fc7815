import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import { type ProbedAddress, Probes } from '../../src/listener/probes.ts';
import { ask } from '../support/ask.ts';
import { startInProcess } from './in-process-broker.ts';

/** A server that answers whatever it is asked in one way. */
async function serving(t: Test, listener: RequestListener, host = '127.0.0.1') {
  const server = createServer(listener);
  server.listen(0, host);
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const address: ProbedAddress = { host, port: (server.address() as AddressInfo).port };
  return { address, server };
}

const answering =
  (status: number): RequestListener =>
  (_request, response) =>
    void response.writeHead(status).end();

function probes(
  addresses: readonly ProbedAddress[],
  { workers = true, incomplete = false } = {},
): Probes {
  return new Probes({
    clock: systemClock,
    addresses: () => addresses,
    incomplete: () => incomplete,
    workersReady: () => workers,
  });
}

t.test('well: every address answers as only the broker does', async (t) => {
  const [one, other] = [await serving(t, answering(404)), await serving(t, answering(404), '::1')];
  const { status, reason } = await probes([one.address, other.address]).check(true);
  t.equal(status, 200);
  t.equal(reason, 'ok');
});

t.test('what is missing is told for as long as it is missing, and no longer', async (t) => {
  const { address } = await serving(t, answering(404));
  const missing = { addresses: true, workers: true };
  const probing = new Probes({
    clock: systemClock,
    addresses: () => [address],
    incomplete: () => missing.addresses,
    workersReady: () => !missing.workers,
  });
  const operator = await serving(t, (request, response) => {
    probing.handle(request, response);
  });
  const ready = async () => {
    const { status, text } = await ask(operator.address.port, '/readyz', 'GET', {});
    return `${status} ${text.trim()}`;
  };
  t.equal(await ready(), '500 not all addresses are bound yet');
  missing.addresses = false;
  t.equal(await ready(), '500 the worker threads are not up');
  missing.workers = false;
  t.equal(await ready(), '200 ok');
  missing.workers = true;
  t.equal(await ready(), '500 the worker threads are not up');
});

t.test('a probe asks with the address as Host', async (t) => {
  const hosts: (string | undefined)[] = [];
  const note: RequestListener = (request, response) => {
    hosts.push(request.headers.host);
    response.writeHead(404).end();
  };
  const [one, other] = [await serving(t, note), await serving(t, note, '::1')];
  await probes([one.address]).check(false);
  await probes([other.address]).check(false);
  t.strictSame(hosts, ['127.0.0.1', '[::1]']);
});

t.test('a server can tell a probe from all others, at its end of the connection', async (t) => {
  const seen: boolean[] = [];
  const { address, server } = await serving(t, answering(404));
  const probing = probes([address]);
  server.on('connection', (socket: Socket) => seen.push(probing.isProbe(socket)));
  t.equal((await probing.check(false)).status, 200);
  const other = connect({ port: address.port, host: '127.0.0.1' });
  await once(server, 'connection');
  t.strictSame(seen, [true, false]);
  t.equal(probing.isProbe({ remoteAddress: '127.0.0.1', remotePort: other.localPort }), false);
  t.equal(probing.isProbe({ remoteAddress: undefined, remotePort: undefined }), false);
  other.destroy();
});

t.test('500: whatever else an address answers, and what is not there', async (t) => {
  const good = await serving(t, answering(404));
  for (const status of [200, 204, 302, 403, 429, 500, 503]) {
    const wrong = await serving(t, answering(status));
    const found = await probes([good.address, wrong.address]).check(false);
    t.equal(found.status, 500, String(status));
    t.match(found.reason, `127.0.0.1:${wrong.address.port} answered ${status}`);
  }
  const reset = await serving(t, (request) => request.socket.resetAndDestroy());
  t.match(await probes([reset.address]).check(false), { status: 500, reason: /ECONNRESET/ });
  const gone = await serving(t, answering(404));
  gone.server.close();
  await once(gone.server, 'close');
  t.match(
    await probes([good.address, gone.address]).check(false),
    { status: 500, reason: new RegExp(`^127\\.0\\.0\\.1:${gone.address.port}: ECONNREFUSED$`) },
    'an address that was lost',
  );
});

t.test('500: no worker threads, and for readiness an address that is waited for', async (t) => {
  const { address } = await serving(t, answering(404));
  t.match(await probes([address], { workers: false }).check(false), {
    status: 500,
    reason: /worker threads/,
  });
  const waiting = probes([], { incomplete: true });
  t.match(await waiting.check(true), { status: 500, reason: /not all addresses/ });
  t.match(await waiting.check(false), { status: 200 }, 'to be killed would not help it');
});

t.test('408: an address that does not answer in time', async (t) => {
  const silent = await serving(t, () => undefined);
  const good = await serving(t, answering(404));
  const began = performance.now();
  t.match(await probes([good.address, silent.address]).check(false), {
    status: 408,
    reason: /did not answer within 900 ms/,
  });
  t.ok(performance.now() - began > 850);
});

t.test('408: an address that does not even accept', async (t) => {
  const worker = new Worker(new URL('deaf-server.ts', import.meta.url));
  t.teardown(() => worker.terminate());
  const [{ port }] = (await once(worker, 'message')) as [AddressInfo];
  const filling: Socket[] = [];
  t.teardown(() => {
    for (const socket of filling) socket.destroy();
  });
  // Connections are made until one is not: then the queue is full.
  for (let full = false; !full; ) {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.on('error', () => undefined);
    filling.push(socket);
    full = await Promise.race([
      once(socket, 'connect').then(() => false),
      new Promise<boolean>((resolve) => setTimeout(resolve, 300, true)),
    ]);
  }
  t.match(await probes([{ host: '127.0.0.1', port }]).check(false), {
    status: 408,
    reason: /did not answer within 900 ms/,
  });
});

t.test('over HTTP: on localhost, and on the port of the metrics', async (t) => {
  const broker = await startInProcess(t);
  for (const port of [broker.probePort, broker.metricsPort]) {
    for (const path of ['/healthz', '/readyz', '/healthz?verbose', '/readyz?x']) {
      const answer = await ask(port, path, 'GET', {});
      t.equal(answer.status, 200, path);
      t.equal(answer.text, 'ok\n');
    }
    for (const path of ['/', '/health', '/healthz/', '/v1/credentials']) {
      t.equal((await ask(port, path, 'GET', {})).status, 404, path);
    }
  }
  t.equal((await ask(broker.probePort, '/metrics', 'GET', {})).status, 404);
  const metrics = await ask(broker.metricsPort, '/metrics', 'GET', {});
  t.equal(metrics.status, 200);
  t.match(metrics.headers, { 'content-type': /^text\/plain; version=0\.0\.4/ });
  t.match(metrics.text, /^# TYPE pod_identity_http_response counter$/m);
  t.notMatch(metrics.text, /pod_identity_http_response\{[^}]*404/, 'probes are no requests');
});

t.test('a busy EKS Auth and many clients fail no probe', async (t) => {
  const broker = await startInProcess(t, {
    args: ['--client-wait=2s', '--flight-timeout=3s'],
    simulator: { latency: 60_000 },
  });
  const asked = Array.from({ length: 200 }, () =>
    ask(broker.port, '/v1/credentials', 'GET', { Authorization: broker.token() }),
  );
  t.equal((await ask(broker.probePort, '/healthz', 'GET', {})).status, 200);
  t.equal((await ask(broker.probePort, '/readyz', 'GET', {})).status, 200);
  t.ok((await Promise.all(asked)).every(({ status }) => status === 503));
});

t.test('readiness that only this process answers', async (t) => {
  const { address } = await serving(t, answering(404));
  const probing = new Probes({
    clock: systemClock,
    addresses: () => [address],
    incomplete: () => false,
    workersReady: () => true,
    readyId: 'version-2',
  });
  const { address: own } = await serving(t, (request, response) => {
    if (!probing.handle(request, response)) response.writeHead(404).end();
  });
  const status = async (path: string) => (await ask(own.port, path, 'GET', {})).status;
  t.equal(await status('/readyz/version-2'), 200);
  t.equal(await status('/readyz/version-1'), 404, 'that of another pod');
  t.equal(await status('/readyz/'), 404);
  t.equal(await status('/healthz/version-2'), 404);
  probing.succeeded = true;
  t.equal(await status('/readyz/version-2'), 404, 'it may be asked in place of its successor');
  t.equal(await status('/readyz'), 200);
  probing.succeeded = false;
  t.equal(await status('/readyz/version-2'), 200);
});
