import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { ApiClient } from '../../src/kubernetes/api-client.ts';
import { until } from '../support/until.ts';
import { startPool } from '../workers/worker-pool.ts';

// What the watch is built on: answers that come through a worker thread, piece by piece.

/** A client of a server that answers so. */
async function clientOf(t: Test, answer: (response: ServerResponse) => void) {
  const server = createServer((_, response) => answer(response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const pool = await startPool(t);
  const request = async (path: string) => ({
    url: `http://127.0.0.1:${port}${path}`,
    timeout: 60_000,
  });
  return { client: new ApiClient({ request }, pool), pool };
}

const never = new AbortController().signal;

t.test('what nobody takes is not read', async (t) => {
  let sent = 0;
  const piece = Buffer.alloc(64 * 1024, 'a');
  let drained = 0;
  const { client } = await clientOf(t, (response) => {
    const more = () => {
      drained += 1;
      while (!response.destroyed && response.write(piece)) sent += piece.length;
    };
    response.on('drain', more);
    more();
  });
  const stop = new AbortController();
  const { body } = await client.stream('/', stop.signal);
  const pieces = body[Symbol.asyncIterator]();
  let taken = 0;
  while (taken < 100 * 1024 * 1024) taken += (await pieces.next()).value?.length ?? 0;
  t.ok(drained > 1, 'the server had to wait');
  // Both sides' buffers of the sockets, and undici's.
  t.ok(sent - taken < 32 * 1024 * 1024, `${sent - taken} bytes ahead`);
  stop.abort(new Error('enough'));
  await t.rejects(pieces.next(), { message: 'enough' });
});

t.test('the request ends with its signal', async (t) => {
  const closed = Promise.withResolvers<void>();
  const { client } = await clientOf(t, (response) => {
    response.on('close', () => closed.resolve());
    response.write('x');
  });
  const stop = new AbortController();
  const { status, body } = await client.stream('/', stop.signal);
  t.equal(status, 200);
  const pieces = body[Symbol.asyncIterator]();
  t.equal(String((await pieces.next()).value), 'x');
  const next = pieces.next();
  stop.abort(new Error('no more'));
  await t.rejects(next, { message: 'no more' });
  await closed.promise;
});

t.test('before it is answered, too', async (t) => {
  let open = 0;
  const { client } = await clientOf(t, (response) => {
    open += 1;
    response.on('close', () => {
      open -= 1;
    });
  });
  const stop = new AbortController();
  const begun = client.stream('/', stop.signal);
  const got = client.get('/', { timeout: 60_000, maxBytes: 10, signal: stop.signal });
  await until(() => open === 2, 'not asked');
  stop.abort(new Error('no more'));
  await t.rejects(begun, { message: 'no more' });
  await t.rejects(got, { message: 'no more' });
  await until(() => open === 1, 'the stream is still open');
});

t.test('a stream ends with an error when its thread does', async (t) => {
  const { client, pool } = await clientOf(t, (response) => void response.write('x'));
  const { body } = await client.stream('/', never);
  const pieces = body[Symbol.asyncIterator]();
  t.equal(String((await pieces.next()).value), 'x');
  const failed = t.rejects(pieces.next(), { name: 'ApiRequestError', message: /thread/ });
  await pool.close();
  await failed;
});

t.test('what is cut, refused or too large', async (t) => {
  const { client } = await clientOf(t, (response) => {
    response.write('x'.repeat(100));
    setImmediate(() => response.destroy());
  });
  const { body } = await client.stream('/', never);
  await t.rejects(
    async () => {
      for await (const _ of body);
    },
    { name: 'ApiRequestError' },
  );
  await t.rejects(client.get('/', { timeout: 5_000, maxBytes: 10 }), {
    name: 'ApiRequestError',
    message: /larger than 10 bytes/,
  });
  const nowhere = new ApiClient(
    { request: async () => ({ url: 'http://127.0.0.1:1/', timeout: 1_000 }) },
    await startPool(t),
  );
  await t.rejects(nowhere.stream('/', never), { name: 'ApiRequestError', message: /ECONNREFUSED/ });
});
