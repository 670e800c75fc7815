import { once } from 'node:events';
import type { RequestListener, Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import type { RemoteEnd } from '../../src/listener/accept.ts';
import { FirstRequests, MAX_IN_A_TURN } from '../../src/listener/first-requests.ts';
import { createHttpServer, stopListening } from '../../src/listener/http-server.ts';
import { Sources } from '../../src/listener/sources.ts';
import { until } from '../support/until.ts';
import { RawClient } from './raw-client.ts';

// What hostile clients can do with one connection, below anything that is about credentials.

/** A server as pods meet it, and what it counted. */
async function serve(
  t: Test,
  handler?: RequestListener,
  { rate = 0, isProbe = (_end: RemoteEnd): boolean => false } = {},
) {
  const firstRequests = new FirstRequests({ sourceOf: () => '', isProbe: () => false });
  const counts = { handled: 0, closed: 0, unparsed: [] as number[] };
  const sources = new Sources(systemClock, { rate });
  const server = createHttpServer({
    handler: (request, response) => {
      counts.handled += 1;
      if (handler !== undefined) handler(request, response);
      else response.end('x');
    },
    lines: undefined,
    isProbe,
    sources,
    firstRequests,
    onParseError: (status) => counts.unparsed.push(status),
    onTooMany: () => {
      counts.closed += 1;
    },
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { counts, firstRequests, server, sources, port: (server.address() as AddressInfo).port };
}

const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

t.test('a pipeline of thousands costs no more than its first few requests', async (t) => {
  const { counts, port } = await serve(t);
  const client = await RawClient.open(port);
  client.send(REQUEST.repeat(2_000));
  await client.end();
  t.equal(counts.handled, 17, 'one that is answered, sixteen behind it');
  t.equal(counts.closed, 1, 'the connection is closed, and counted, once');
});

t.test('a short pipeline is answered in order', async (t) => {
  const { port } = await serve(t, ({ url }, response) => {
    const number = Number(url?.slice(1));
    // The later it was asked for, the sooner it is there.
    setTimeout(() => response.setHeader('Content-Length', 1).end(String(number)), 50 - 10 * number);
  });
  const client = await RawClient.open(port);
  t.teardown(() => client.close());
  client.send(['0', '1', '2', '3', '4'].map((n) => REQUEST.replace('/', `/${n}`)).join(''));
  const texts: string[] = [];
  while (texts.length < 5) texts.push((await client.answer()).text);
  t.strictSame(texts, ['0', '1', '2', '3', '4']);
});

t.test('an expectation is refused, and what follows it is not read', async (t) => {
  const { counts, port } = await serve(t);
  const client = await RawClient.open(port);
  client.send(`GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n${REQUEST.repeat(100)}`);
  const { status, headers } = await client.answer();
  t.equal(status, 417);
  t.equal(headers.connection, 'close');
  await client.end();
  t.strictSame(counts, { handled: 0, closed: 0, unparsed: [417] });
});

t.test('CONNECT is refused as any other method, and what follows it is not read', async (t) => {
  const { counts, port } = await serve(t);
  const client = await RawClient.open(port);
  client.send(`CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n${REQUEST.repeat(100)}`);
  const { status, headers, body } = await client.answer();
  t.equal(status, 405);
  t.match(headers, { allow: 'GET', connection: 'close' });
  t.equal(body.code, 'MethodNotAllowed');
  await client.end();
  t.equal(client.rest, '');
  t.strictSame(counts, { handled: 0, closed: 0, unparsed: [405] });
});

t.test('who asks for CONNECT and is gone ends nothing but the connection', async (t) => {
  const { counts, port, sources } = await serve(t);
  const errors: Error[] = [];
  const note = (error: Error) => errors.push(error);
  process.on('uncaughtException', note);
  t.teardown(() => process.off('uncaughtException', note));
  for (let round = 0; round < 50; round += 1) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    const closed = once(socket, 'close');
    socket.write(`${REQUEST.repeat(5)}CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n`, () => {
      socket.resetAndDestroy();
    });
    await closed;
  }
  await until(() => sources.connections === 0, 'all are gone');
  t.strictSame(errors, []);
  t.ok(counts.unparsed.length > 0, `${counts.unparsed.length} were read in time`);
});

t.test('who asks for nothing but CONNECT is soon not let in', async (t) => {
  const { counts, port, sources } = await serve(t, undefined, { rate: 2 });
  for (let asked = 0; asked < 100 && counts.closed === 0; asked += 1) {
    const client = await RawClient.open(port);
    client.send('CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n');
    await client.end();
  }
  t.ok(counts.unparsed.length < 50, `after ${counts.unparsed.length} answers`);
  t.equal(counts.closed, 1);
  await until(() => sources.connections === 0, 'none is left open');
});

t.test('what is not wanted is closed before it costs a socket', async (t) => {
  const probes: RemoteEnd[] = [];
  const { counts, port, server, sources } = await serve(t, undefined, {
    rate: 2,
    isProbe: ({ remoteAddress, remotePort }) =>
      probes.some((end) => end.remoteAddress === remoteAddress && end.remotePort === remotePort),
  });
  let sockets = 0;
  server.on('connection', () => {
    sockets += 1;
  });
  const owing = await RawClient.open(port);
  owing.send(REQUEST);
  await owing.answer();
  const [source] = [sources.of({ remoteAddress: '127.0.0.1' } as Socket)];
  const runUp = () => {
    for (let refusal = 0; refusal < 100; refusal += 1) source.charge(systemClock.elapsed());
    sources.refused(source);
  };
  runUp();
  for (let count = 1; count <= 20; count += 1) {
    runUp();
    const client = await RawClient.open(port);
    await client.end();
    t.equal(client.rest, '');
    t.equal(counts.closed, count, 'each is counted');
  }
  t.equal(sockets, 1, 'and Node.js has made a socket of none');
  t.equal(sources.connections, 1);
  runUp();
  const probe = connect({ port, host: '127.0.0.1' });
  t.teardown(() => probe.destroy());
  // Its local end is known in the next tick, before anything is accepted.
  process.nextTick(() => {
    probes.push({ remoteAddress: probe.localAddress, remotePort: probe.localPort });
  });
  probe.write(REQUEST);
  t.match(String(await once(probe, 'data')), /^HTTP\/1\.1 200 /, 'but of a probe');
  owing.send(REQUEST);
  t.equal((await owing.answer()).status, 200, 'who is connected stays so');
  owing.close();
});

t.test('a client that does not read its answer is let go of', async (t) => {
  const { port, server } = await serve(t, (_request, response) => {
    response.end(Buffer.alloc(16 * 1024 * 1024));
  });
  const taken: Socket[] = [];
  server.on('connection', (socket: Socket) => taken.push(socket));
  const connectBehind = `${REQUEST}CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n`;
  for (const bytes of [REQUEST, connectBehind]) {
    const socket = connect(port, '127.0.0.1').pause();
    t.teardown(() => socket.destroy());
    socket.write(bytes);
  }
  await until(() => taken.length === 2, 'both are connected');
  const started = performance.now();
  await Promise.all(
    taken.map(async (socket) => {
      await once(socket, 'close');
      const took = performance.now() - started;
      t.ok(took > 4_000 && took < 15_000, `after ${Math.round(took)} ms`);
    }),
  );
});

t.test('a client that is told to ask sooner, and never hangs up, is let go of', async (t) => {
  const { counts, port, server } = await serve(t);
  server.headersTimeout = 100;
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).resume();
  t.teardown(() => socket.destroy());
  const [taken] = await accepted;
  await once(socket, 'end');
  t.strictSame(counts.unparsed, [408]);
  await once(taken, 'close');
  t.ok(socket.writable, 'which it has not done');
});

/** So many connections that the server has accepted, one a turn, and that are silent so far. */
async function connectFirst(t: Test, server: Server, count: number): Promise<RawClient[]> {
  const { port } = server.address() as AddressInfo;
  const clients = await Promise.all(Array.from({ length: count }, () => RawClient.open(port)));
  t.teardown(() => {
    for (const client of clients) client.close();
  });
  const accepted = promisify(server.getConnections.bind(server));
  await until(async () => (await accepted()) === count, 'all are accepted');
  return clients;
}

t.test('many that connect first and ask later, all at once, do not hold up others', async (t) => {
  const order: string[] = [];
  const { firstRequests, server } = await serve(t, ({ url }, response) => {
    order.push(url ?? '');
    response.end('x');
  });
  const request = (path: string) => REQUEST.replace('/', path);
  const crowd = await connectFirst(t, server, 301);
  const steady = crowd.pop() as RawClient;
  steady.send(request('/before'));
  await steady.answer();
  // Their server has all of it to read by the next time that it looks, in this order.
  for (const client of crowd) client.send(request('/crowd'));
  steady.send(request('/steady'));
  let most = 0;
  while (order.length < 302) {
    const before = order.length;
    await new Promise(setImmediate);
    most = Math.max(most, order.length - before);
  }
  t.ok(most >= MAX_IN_A_TURN / 2, 'they do come all at once');
  t.ok(most <= MAX_IN_A_TURN + 1, `${most} in one turn: their share, and who has asked before`);
  t.ok(order.indexOf('/steady') <= MAX_IN_A_TURN + 1, 'which comes next');
  for (const client of crowd) t.equal((await client.answer()).status, 200);
  t.equal(firstRequests.held, 0);
});

/** Resolves in the turn in which that comes to be; it would not be seen by looking now and then. */
async function someAreHeld(firstRequests: FirstRequests): Promise<void> {
  for (let turn = 0; firstRequests.held === 0; turn += 1) {
    if (turn > 100_000) throw new Error('none is held');
    await new Promise(setImmediate);
  }
}

t.test('whoever hangs up while it is held leaves nothing behind', async (t) => {
  const { counts, firstRequests, server } = await serve(t);
  const clients = await connectFirst(t, server, 300);
  for (const client of clients.slice(0, 200)) client.send(REQUEST);
  await someAreHeld(firstRequests);
  for (const client of clients) client.close();
  const open = promisify(server.getConnections.bind(server));
  await until(async () => (await open()) === 0, 'their connections are closed');
  t.equal(firstRequests.held, 0);
  t.ok(counts.handled <= 200);
});

t.test('who is held when the server stops listening is answered', async (t) => {
  const { counts, firstRequests, server } = await serve(t);
  const clients = await connectFirst(t, server, 200);
  for (const client of clients) client.send(REQUEST);
  await someAreHeld(firstRequests);
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  stopListening(server, resolve);
  // At once, it would cut off all that are held.
  firstRequests.onceAllAreRead(() => server.closeIdleConnections());
  for (const client of clients) t.equal((await client.answer()).status, 200);
  await closed;
  t.equal(counts.handled, 200);
});
