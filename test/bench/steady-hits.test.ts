import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { type SteadyHits, steadyHits } from '../../bench/load/steady-hits.ts';

const TOKENS = ['one', 'two', 'three'];
const CONNECTIONS = 4;

const echo: RequestListener = (request, response) => {
  response.end(`body of ${request.headers.authorization}`);
};

/** 50 hits in a second on a server of its own, which counts its connections. */
async function hitsOn(
  t: Test,
  listener: RequestListener,
  connections: number | 'each',
): Promise<{ load: SteadyHits; connections: number }> {
  let opened = 0;
  const server = createServer(listener).on('connection', () => {
    opened += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const load = await steadyHits({
    target: { host: '127.0.0.1', port: (server.address() as AddressInfo).port },
    tokens: TOKENS,
    bodies: TOKENS.map((token) => `body of ${token}`),
    connections,
    perSecond: 50,
    seconds: 1,
  });
  return { load, connections: opened };
}

t.test('hits stay on the connections that were opened for them', async (t) => {
  const { load, connections } = await hitsOn(t, echo, CONNECTIONS);
  t.equal(load.hits.length, 50, 'what opens the connections is no hit');
  t.equal(connections, CONNECTIONS);
  const { failed, refused, wrong, reconnected } = load;
  t.same(
    { failed, refused, wrong, reconnected },
    { failed: 0, refused: 0, wrong: 0, reconnected: 0 },
  );
});

t.test('a hit that finds all of them busy waits for one, and its wait counts', async (t) => {
  let answered = 0;
  // The answers to what opens the connections come at once.
  const slow: RequestListener = (request, response) => {
    answered += 1;
    if (answered <= CONNECTIONS) echo(request, response);
    else setTimeout(() => echo(request, response), 200);
  };
  const { load, connections } = await hitsOn(t, slow, CONNECTIONS);
  t.equal(connections, CONNECTIONS);
  t.equal(load.reconnected, 0, 'also of those that had to wait');
  // 50 hits of 200 ms on 4 connections take 2.5 s, and are due within one.
  const last = load.hits.at(-1);
  t.ok((last?.took ?? 0) > 1_000, `the last one took ${last?.took} ms`);
});

t.test('hits whose connection the server has closed are counted', async (t) => {
  const closing: RequestListener = (request, response) => {
    response.setHeader('Connection', 'close');
    echo(request, response);
  };
  const { load, connections } = await hitsOn(t, closing, CONNECTIONS);
  t.equal(load.failed, 0);
  t.equal(load.reconnected, 50);
  t.equal(connections, CONNECTIONS + 50);
});

t.test('hits that open a connection each', async (t) => {
  const { load, connections } = await hitsOn(t, echo, 'each');
  t.equal(load.hits.length, 50);
  t.equal(connections, 50);
  const { failed, refused, wrong, reconnected } = load;
  t.same(
    { failed, refused, wrong, reconnected },
    { failed: 0, refused: 0, wrong: 0, reconnected: 0 },
  );
});
