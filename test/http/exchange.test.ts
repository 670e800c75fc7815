import net, { type AddressInfo, type Socket } from 'node:net';
import t from 'tap';
import { createDispatcher, type DispatcherOptions } from '../../src/http/dispatcher.ts';
import { exchange } from '../../src/http/exchange.ts';
import { answerWith, startServer } from '../eks-auth/eks-auth-server.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';
import { until } from '../support/until.ts';

const LIMITS = { timeout: 10_000, maxBytes: 1_000 };

function connections(t: Parameters<typeof startServer>[0], options: DispatcherOptions = {}) {
  const dispatcher = createDispatcher(options);
  t.teardown(() => dispatcher.destroy());
  return dispatcher;
}

/** A server that does with its connections what the test says, in place of speaking HTTP. */
async function rawServer(t: Parameters<typeof startServer>[0], serve: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { port, origin: `http://127.0.0.1:${port}`, sockets };
}

const post = (origin: string) => ({ origin, path: '/', method: 'POST', body: '{}' });
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

t.test('an answer is read whole', async (t) => {
  const server = await startServer(t);
  server.respond = (response) => {
    response.writeHead(201, { 'X-One': ['a', 'b'] });
    response.write('first ');
    response.end('second');
  };
  const answer = await exchange(
    connections(t),
    { origin: server.url, path: '/a?b=c', method: 'PUT', headers: { 'x-own': '1' }, body: 'hello' },
    LIMITS,
  );
  t.equal(answer.status, 201);
  t.equal(answer.body.toString(), 'first second');
  t.equal(answer.headers['x-one'], 'a, b');
  t.match(server.received, [{ method: 'PUT', url: '/a?b=c', body: 'hello' }]);
  t.equal(server.received[0]?.headers['x-own'], '1');
});

t.test('redirects are not followed', async (t) => {
  const server = await startServer(t);
  server.respond = answerWith(307, '', { location: '/elsewhere' });
  t.match(await exchange(connections(t), post(server.url), LIMITS), { status: 307 });
  t.equal(server.received.length, 1);
});

t.test('connections are kept and used again', async (t) => {
  const server = await startServer(t);
  const dispatcher = connections(t);
  for (let call = 0; call < 3; call++) {
    await exchange(dispatcher, post(server.url), LIMITS);
    await settle();
  }
  t.strictSame(
    server.received.map(({ connection }) => connection),
    [1, 1, 1],
  );
});

t.test('a kept connection that the server has closed is replaced', async (t) => {
  // The second request on a connection is read, and then the connection closed or reset: what
  // a client sees whose request crosses the server's end of the idle time.
  for (const end of ['end', 'resetAndDestroy'] as const) {
    let requests = 0;
    const server = await rawServer(t, (socket) => {
      let onThis = 0;
      socket.on('data', () => {
        requests += 1;
        onThis += 1;
        if (onThis === 1) socket.write(OK);
        else socket[end]();
      });
    });
    const dispatcher = connections(t);
    t.match(await exchange(dispatcher, post(server.origin), LIMITS), { status: 200 });
    await settle();
    t.match(await exchange(dispatcher, post(server.origin), LIMITS), { status: 200 }, end);
    t.equal(requests, 3);
    t.equal(server.sockets.size, 2);
  }
});

t.test('many kept connections, all stale, are all replaced', async (t) => {
  const old = new WeakSet<Socket>();
  const server = await rawServer(t, (socket) => {
    socket.on('data', () => {
      if (old.has(socket)) socket.resetAndDestroy();
      else socket.write(OK);
    });
  });
  const dispatcher = connections(t);
  const burst = () =>
    Promise.all(
      Array.from({ length: 20 }, () => exchange(dispatcher, post(server.origin), LIMITS)),
    );
  await burst();
  t.equal(server.sockets.size, 20);
  for (const socket of server.sockets) old.add(socket);
  await settle();
  for (const { status } of await burst()) t.equal(status, 200);
});

t.test('a new connection that is closed is not tried again', async (t) => {
  for (const end of ['end', 'resetAndDestroy'] as const) {
    let requests = 0;
    const server = await rawServer(t, (socket) => {
      socket.on('data', () => {
        requests += 1;
        socket[end]();
      });
    });
    await t.rejects(exchange(connections(t), post(server.origin), LIMITS), {
      code: end === 'end' ? 'UND_ERR_SOCKET' : 'ECONNRESET',
    });
    t.equal(requests, 1);
  }
});

t.test('an answer that is cut off says so', async (t) => {
  for (const end of ['end', 'resetAndDestroy'] as const) {
    const server = await rawServer(t, (socket) => {
      socket.on('data', () => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf', () => socket[end]());
      });
    });
    await t.rejects(exchange(connections(t), post(server.origin), LIMITS), {
      code: 'ERR_INCOMPLETE_ANSWER',
      status: 200,
      message: /^the connection ended before the answer was complete: ./,
    });
  }
});

t.test('nor is it where a connection in its place had answered', async (t) => {
  // A request that stays open keeps the pool, and with it the place of the closed connection.
  let requests = 0;
  const server = await rawServer(t, (socket) => {
    socket.on('data', () => {
      requests += 1;
      if (requests === 2) socket.end(OK);
      if (requests === 3) socket.resetAndDestroy();
    });
  });
  const dispatcher = connections(t, { connections: 2 });
  const open = exchange(dispatcher, post(server.origin), LIMITS).catch(() => undefined);
  await until(() => requests > 0, 'the request is there');
  t.match(await exchange(dispatcher, post(server.origin), LIMITS), { status: 200 });
  await settle();
  await t.rejects(exchange(dispatcher, post(server.origin), LIMITS), { code: 'ECONNRESET' });
  t.equal(requests, 3);
  await dispatcher.destroy();
  await open;
});

t.test('half an answer is an error, on a kept connection too', async (t) => {
  let requests = 0;
  const server = await rawServer(t, (socket) => {
    let onThis = 0;
    socket.on('data', () => {
      requests += 1;
      onThis += 1;
      if (onThis === 1) socket.write(OK);
      else socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf');
    });
  });
  const dispatcher = connections(t);
  await exchange(dispatcher, post(server.origin), LIMITS);
  await settle();
  await t.rejects(exchange(dispatcher, post(server.origin), LIMITS), {
    code: 'ERR_INCOMPLETE_ANSWER',
  });
  t.equal(requests, 2, 'it has been answered, so it is not sent again');
});

t.test('an answer larger than allowed is given up', async (t) => {
  const server = await startServer(t);
  const dispatcher = connections(t);
  server.respond = answerWith(200, 'x'.repeat(1_001), { 'content-length': '1001' });
  const tooLarge = { name: 'ExchangeTooLargeError', code: 'ERR_EXCHANGE_TOO_LARGE', status: 200 };
  await t.rejects(exchange(dispatcher, post(server.url), LIMITS), tooLarge);

  let ended = false;
  server.respond = (response) => {
    response.writeHead(200);
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(100)));
    };
    response.on('drain', more).on('close', () => {
      ended = true;
    });
    more();
  };
  await t.rejects(exchange(dispatcher, post(server.url), LIMITS), tooLarge);
  await until(() => ended, 'the connection is closed');
  t.pass('an endless answer is hung up on');

  server.respond = answerWith(200, 'x'.repeat(1_000));
  t.match(await exchange(dispatcher, post(server.url), LIMITS), { status: 200 });
});

t.test('one time-out bounds the whole attempt', async (t) => {
  const timeouts: [what: string, serve: (socket: Socket) => void][] = [
    ['no answer', (socket) => socket.resume()],
    [
      'half the headers',
      (socket) => socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nA: ')),
    ],
    [
      'half the body',
      (socket) =>
        socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na')),
    ],
  ];
  for (const [what, serve] of timeouts) {
    const clock = new ManualClock();
    let closed = false;
    const reached = Promise.withResolvers<void>();
    const server = await rawServer(t, (socket) => {
      socket
        .on('data', () => reached.resolve())
        .on('close', () => {
          closed = true;
        });
      serve(socket);
    });
    const call = exchange(connections(t), post(server.origin), { ...LIMITS, clock });
    const failed = t.rejects(call, {
      name: 'TimeoutError',
      message: 'no complete answer within 10000 ms',
    });
    await reached.promise;
    await clock.advance(9_999);
    t.equal(clock.pending, 1, `${what}: still waiting`);
    await clock.advance(1);
    await failed;
    t.equal(clock.pending, 0);
    await until(() => closed, `${what}: the connection is closed`);
  }
});

t.test('waiting for a connection counts', async (t) => {
  const clock = new ManualClock();
  const server = await rawServer(t, (socket) => socket.resume());
  const dispatcher = connections(t, { connections: 1 });
  const first = exchange(dispatcher, post(server.origin), LIMITS).catch(() => undefined);
  await until(() => server.sockets.size > 0, 'the first is connected');
  const second = t.rejects(exchange(dispatcher, post(server.origin), { ...LIMITS, clock }), {
    name: 'TimeoutError',
  });
  await settle();
  await clock.advance(10_000);
  await second;
  t.equal(server.sockets.size, 1);
  await dispatcher.destroy();
  await first;
});

t.test('a request that was given up while it waited is never sent', async (t) => {
  const server = await startServer(t);
  const answers: (() => void)[] = [];
  server.respond = (response, request) => {
    answers.push(() => answerWith(200, {})(response, request));
  };
  const dispatcher = connections(t, { connections: 1 });
  const first = exchange(dispatcher, post(server.url), LIMITS);
  const given = new AbortController();
  const second = exchange(dispatcher, post(server.url), { ...LIMITS, signal: given.signal });
  await until(() => answers.length > 0, 'the first is there');
  given.abort(new Error('given up'));
  await t.rejects(second, { message: 'given up' });
  answers[0]?.();
  await first;
  server.respond = answerWith(200, {});
  await exchange(dispatcher, post(server.url), LIMITS);
  t.equal(server.received.length, 2);
});

t.test('a signal ends an exchange', async (t) => {
  const server = await startServer(t);
  const dispatcher = connections(t);
  const reason = new Error('stopped');
  await t.rejects(
    exchange(dispatcher, post(server.url), { ...LIMITS, signal: AbortSignal.abort(reason) }),
    reason,
  );
  t.equal(server.received.length, 0);

  const stop = new AbortController();
  server.respond = () => stop.abort(reason);
  await t.rejects(
    exchange(dispatcher, post(server.url), { ...LIMITS, signal: stop.signal }),
    reason,
  );
});

t.test('nobody there', async (t) => {
  const server = await rawServer(t, () => undefined);
  const { origin } = server;
  await t.rejects(exchange(connections(t), post('http://127.0.0.1:1'), LIMITS), {
    code: 'ECONNREFUSED',
  });
  await t.rejects(exchange(connections(t), post('http://broker.invalid'), LIMITS), {
    code: /ENOTFOUND|EAI_AGAIN/,
  });
  // TLS that the other side never speaks: connecting has a time-out of its own.
  const dispatcher = connections(t, { connectTimeout: 50 });
  await t.rejects(exchange(dispatcher, post(origin.replace('http:', 'https:')), LIMITS), {
    code: 'UND_ERR_CONNECT_TIMEOUT',
  });
});

t.test('what is not HTTP', async (t) => {
  const server = await rawServer(t, (socket) => socket.on('data', () => socket.end('SSH-2.0\r\n')));
  await t.rejects(exchange(connections(t), post(server.origin), LIMITS), {
    name: 'HTTPParserError',
  });
});
