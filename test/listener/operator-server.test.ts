import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import { createOperatorServer } from '../../src/listener/operator-server.ts';
import { Sources } from '../../src/listener/sources.ts';
import { until } from '../support/until.ts';

const REQUEST = 'GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n';

async function setUp(
  t: Test,
  answer = (response: ServerResponse): unknown => response.end('page'),
) {
  let asked = 0;
  const sources = new Sources(systemClock, { rate: 0, connections: 2, connectionsInAll: 8 });
  const server = createOperatorServer({
    sources,
    handler: (_request, response) => {
      asked += 1;
      answer(response);
    },
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const open = () => {
    const socket = connect(port, '127.0.0.1').setEncoding('latin1');
    t.teardown(() => socket.destroy());
    socket.on('error', () => undefined);
    let text = '';
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    return { socket, ended: once(socket, 'close').then(() => text) };
  };
  return { server, open, sources, asked: () => asked };
}

t.test('one request a connection, and nothing of what comes behind it', async (t) => {
  const { open, asked } = await setUp(t);
  const { socket, ended } = open();
  socket.write(REQUEST.repeat(2_000));
  const text = await ended;
  t.match(text, /^HTTP\/1\.1 200 OK\r\n/);
  t.match(text, /\r\nConnection: close\r\n/);
  t.equal(text.match(/HTTP\/1\.1/g)?.length, 1);
  t.equal(asked(), 1);
});

t.test('half a request, and none, are closed', async (t) => {
  const { open } = await setUp(t);
  const began = performance.now();
  const half = open();
  half.socket.write(REQUEST.slice(0, 20));
  const silent = open();
  await Promise.all([half.ended, silent.ended]);
  t.ok(performance.now() - began < 10_000);
});

t.test('an answer that nobody reads ends as well', async (t) => {
  const { open, sources } = await setUp(t, (response) => response.end('x'.repeat(30_000_000)));
  const { socket } = open();
  socket.pause();
  socket.write(REQUEST);
  await until(() => sources.connections === 1, 'it is there');
  await until(() => sources.connections === 0, 'it was cut');
  t.pass();
});

t.test('the oldest gives way, so that who asks at once is answered', async (t) => {
  const { open, sources } = await setUp(t);
  const hoard: Socket[] = [];
  for (let count = 0; count < 30; count += 1) hoard.push(open().socket);
  await until(() => sources.connections === 8, 'as many as there may be');
  for (let count = 0; count < 3; count += 1) {
    const { socket, ended } = open();
    socket.write(REQUEST);
    t.match(await ended, /page$/);
  }
  t.ok(sources.connections <= 8);
});
