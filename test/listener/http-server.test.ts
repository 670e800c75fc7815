import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import { createHttpServer } from '../../src/listener/http-server.ts';
import { Sources } from '../../src/listener/sources.ts';
import { RawClient } from './raw-client.ts';

// What hostile clients can do with one connection, below anything that is about credentials.

/** A server as pods meet it, and what it counted. */
async function serve(t: Test, handler?: RequestListener) {
  const counts = { handled: 0, closed: 0, unparsed: [] as number[] };
  const server = createHttpServer({
    handler: (request, response) => {
      counts.handled += 1;
      if (handler !== undefined) handler(request, response);
      else response.end('x');
    },
    lines: undefined,
    isProbe: () => false,
    sources: new Sources(systemClock, { rate: 0 }),
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
  return { counts, server, port: (server.address() as AddressInfo).port };
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

t.test('a client that does not read its answer is let go of', async (t) => {
  const { port, server } = await serve(t, (_request, response) => {
    response.end(Buffer.alloc(16 * 1024 * 1024));
  });
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const socket = connect(port, '127.0.0.1').pause();
  t.teardown(() => socket.destroy());
  socket.write(REQUEST);
  const [taken] = await accepted;
  const started = performance.now();
  await once(taken, 'close');
  const took = performance.now() - started;
  t.ok(took > 4_000 && took < 15_000, `after ${Math.round(took)} ms`);
});
