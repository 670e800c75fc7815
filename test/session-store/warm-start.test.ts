import { createServer, type Socket } from 'node:net';
import t from 'tap';
import { ManualClock } from '../support/manual-clock.ts';
import { needsProgram } from '../support/needs.ts';
import { keyFile, startRedis } from '../support/redis-server.ts';
import { openSlowDoor } from '../support/slow-door.ts';
import { until } from '../support/until.ts';
import { startStore, written } from './stores.ts';

/** The pods of a large node, each with a session of its own. */
const SESSIONS = 250;

t.test('a Redis that takes connections and says nothing is waited for 200 ms', async (t) => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const clock = new ManualClock();
  const url = `redis://127.0.0.1:${address.port}`;
  const { started } = await startStore(t, { url, keyFile: keyFile(t), clock });
  let ready = false;
  void started.then(() => {
    ready = true;
  });
  await clock.advance(199);
  t.notOk(ready);
  await clock.advance(1);
  t.ok(ready);
});

t.test(
  'what is there is loaded before pods are answered',
  { skip: needsProgram('redis-server') },
  async (t) => {
    const redis = await startRedis(t);
    const key = keyFile(t);
    const first = await startStore(t, { url: redis.url, keyFile: key });
    await first.closed();
    await first.fetch('cart');
    await written(first);
    // Time stands still: nothing but the sessions themselves ends the wait.
    const clock = new ManualClock(Date.now());
    const next = await startStore(t, { url: redis.url, keyFile: key, clock });
    let ready = false;
    void next.started.then(() => {
      ready = true;
      t.equal(next.held.size, 1);
    });
    await until(async () => {
      await clock.advance(0);
      return ready;
    }, 'it is ready');
  },
);

t.test(
  'sessions that take longer to come are taken in later',
  { skip: needsProgram('redis-server') },
  async (t) => {
    const redis = await startRedis(t);
    const key = keyFile(t);
    const first = await startStore(t, { url: redis.url, keyFile: key });
    await first.closed();
    await Promise.all(Array.from({ length: SESSIONS }, (_, index) => first.fetch(`app-${index}`)));
    await written(first);
    const door = await openSlowDoor(t, redis.port);
    // Several answers, one after the other, are needed to load anything.
    door.delay = 300;
    const clock = new ManualClock(Date.now());
    const url = `redis://127.0.0.1:${door.port}`;
    const next = await startStore(t, { url, keyFile: key, clock });
    await until(async () => {
      await clock.advance(0);
      return next.store.state.circuit === 'closed';
    }, 'Redis can be asked');
    let ready = false;
    void next.started.then(() => {
      ready = true;
    });
    await clock.advance(200);
    t.ok(ready);
    t.equal(next.held.size, 0);
    await until(() => next.held.size === SESSIONS, 'all of them are there');
  },
);
