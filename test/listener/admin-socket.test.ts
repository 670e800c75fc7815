import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { askBroker } from '../../src/listener/admin-client.ts';
import { type AdminActions, AdminSocket } from '../../src/listener/admin-socket.ts';
import { capturedLog } from '../support/captured-log.ts';

/** A place for a socket; not in the test's own folder, whose path may be too long (unix(7)). */
async function place(t: Test): Promise<{ folder: string; path: string }> {
  const base = await mkdtemp(join(tmpdir(), 'admin-'));
  t.teardown(() => rm(base, { recursive: true, force: true }));
  const folder = join(base, 'broker');
  return { folder, path: join(folder, 'admin.sock') };
}

/** A socket whose actions note what they were asked. */
async function socket(t: Test, path: string, actions: Partial<AdminActions> = {}) {
  const asked: unknown[] = [];
  const { log, lines } = capturedLog();
  const admin = new AdminSocket(
    path,
    {
      flush: async (chosen) => ({ flushed: asked.push(chosen) }),
      status: () => ({ well: true }),
      explain: async (token) => ({ token: token.length }),
      handOver: {
        offer: () => ({ refused: 'not here' }),
        flush: async () => {},
        release: async () => {},
        reclaim: async () => {},
      },
      ...actions,
    },
    log,
  );
  t.teardown(() => admin.stop());
  return { admin, asked, lines };
}

/** A request as no client of ours makes it. */
async function raw(
  socketPath: string,
  method: string,
  path: string,
  body: string | undefined,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ status: number; message: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; message: string }>();
  const asked = request({ socketPath, method, path, headers }, (response) => {
    text(response).then(
      (read) => resolve({ status: response.statusCode ?? 0, message: JSON.parse(read).message }),
      reject,
    );
  });
  asked.on('error', reject);
  asked.end(body);
  return await promise;
}

t.test('what the operator asks for', async (t) => {
  const { path } = await place(t);
  const { admin, asked } = await socket(t, path);
  await admin.start();
  t.strictSame(await askBroker(path, 'GET', '/status'), { well: true });
  t.strictSame(await askBroker(path, 'POST', '/flush', {}), { flushed: 1 });
  t.strictSame(await askBroker(path, 'POST', '/flush', { namespace: 'shop' }), { flushed: 2 });
  await askBroker(path, 'POST', '/flush', { namespace: 'shop', serviceAccount: 'cart' });
  t.strictSame(asked, [{}, { namespace: 'shop' }, { namespace: 'shop', serviceAccount: 'cart' }]);
  t.strictSame(await askBroker(path, 'POST', '/explain', { token: 'a.b.c' }), { token: 5 });
});

t.test('what is no request of the operator', async (t) => {
  const { path } = await place(t);
  const { admin, asked } = await socket(t, path);
  await admin.start();
  for (const [method, url] of [
    ['GET', '/'],
    ['GET', '/flush'],
    ['POST', '/status'],
    ['DELETE', '/flush'],
    ['POST', '/flush?x'],
  ] as const) {
    t.match(await raw(path, method, url, undefined), { status: 404 }, `${method} ${url}`);
  }
  const post = (url: string, body: string) =>
    raw(path, 'POST', url, body, { 'Content-Length': String(Buffer.byteLength(body)) });
  for (const [body, message] of [
    ['', /not JSON/],
    ['{', /not JSON/],
    ['null', /not an object/],
    ['[]', /not an object/],
    ['[1]', /not an object/],
    ['"text"', /not an object/],
    ['{"namespace":1}', /namespace is not a name/],
    ['{"namespace":""}', /namespace is not a name/],
    ['{"serviceAccount":"cart"}', /needs its namespace/],
    ['{"namespaces":"shop"}', /namespaces is not known/],
    ['{"namespace":"shop","x":1}', /x is not known/],
  ] as const) {
    const answer = await post('/flush', body);
    t.equal(answer.status, 400, body);
    t.match(answer.message, message, body);
  }
  t.match(await post('/explain', '{}'), { status: 400, message: /token is missing/ });
  t.match(await post('/explain', '{"token":7}'), { status: 400 });
  const long = JSON.stringify({ namespace: 'x'.repeat(30_000) });
  t.match(await post('/flush', long), { status: 413 });
  t.match(
    await raw(path, 'POST', '/flush', '{}', { 'Transfer-Encoding': 'chunked' }),
    { status: 413 },
    'of unknown length',
  );
  t.strictSame(asked, [], 'nothing was done');
});

t.test('an action that fails is an answer, and in the log', async (t) => {
  const { path } = await place(t);
  const { admin, lines } = await socket(t, path, {
    status: () => {
      throw new Error('a reason that stays inside');
    },
  });
  await admin.start();
  await t.rejects(askBroker(path, 'GET', '/status'), {
    name: 'AdminClientError',
    message: 'the broker failed; its log says how',
  });
  t.match(lines, [{ level: 'error', err: { message: 'a reason that stays inside' } }]);
});

t.test('the folder and the socket are for this user alone', async (t) => {
  const { folder, path } = await place(t);
  const { admin } = await socket(t, path);
  await admin.start();
  t.equal((await stat(folder)).mode & 0o777, 0o700);
  t.equal((await stat(path)).mode & 0o777, 0o600);
  await admin.stop();
  await t.rejects(stat(path), { code: 'ENOENT' }, 'it is taken away');
  await admin.stop();
});

t.test('a folder that others may enter is not used', async (t) => {
  for (const mode of [0o755, 0o770, 0o701, 0o777]) {
    const { folder, path } = await place(t);
    await mkdir(folder);
    await chmod(folder, mode);
    const { admin } = await socket(t, path);
    await t.rejects(
      admin.start(),
      { name: 'AdminSocketError', message: /is open to others$/ },
      mode.toString(8),
    );
  }
});

t.test('a place where nothing can be made', async (t) => {
  const { folder } = await place(t);
  await writeFile(folder, '');
  const { admin } = await socket(t, join(folder, 'admin.sock'));
  await t.rejects(admin.start(), { name: 'AdminSocketError', message: /^no admin socket at / });
});

t.test("another broker's socket is left to it, a dead one's is replaced", async (t) => {
  const { folder, path } = await place(t);
  const first = await socket(t, path);
  await first.admin.start();
  const second = await socket(t, path);
  await t.rejects(second.admin.start(), { message: /another broker listens there$/ });
  t.strictSame(await askBroker(path, 'GET', '/status'), { well: true }, 'the first goes on');
  await first.admin.stop();

  // A process that is killed leaves its socket behind.
  const left = join(folder, 'left.sock');
  const script = `require('net').createServer().listen(${JSON.stringify(left)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  t.ok((await stat(left)).isSocket());
  const third = await socket(t, left);
  await third.admin.start();
  t.strictSame(await askBroker(left, 'GET', '/status'), { well: true });
});

t.test('nobody to ask', async (t) => {
  const { path } = await place(t);
  await t.rejects(askBroker(path, 'GET', '/status'), {
    name: 'AdminClientError',
    message: /^no broker can be asked at .*admin\.sock \(--admin-socket\): /,
  });
});
