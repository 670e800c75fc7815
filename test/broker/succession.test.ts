import { once } from 'node:events';
import { symlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, request } from 'node:http';
import { createServer as createSocketServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { AdminSocket } from '../../src/listener/admin-socket.ts';
import { errorBody, NOT_FOUND } from '../../src/listener/answers.ts';
import { HAND_OVER_PATH, HAND_OVER_VERSION, type Successor } from '../../src/listener/hand-over.ts';
import type { PortAddress } from '../../src/listener/listener.ts';
import { isBroker } from '../../src/listener/port-holder.ts';
import { Predecessor } from '../../src/listener/predecessor.ts';
import { ask } from '../support/ask.ts';
import { capturedLog } from '../support/captured-log.ts';
import { until } from '../support/until.ts';
import { answering, GIVING, ownFolder, predecessor, setUp } from './succession-harness.ts';

t.test('a predecessor that is not stopped within a minute is an error', async (t) => {
  const folder = ownFolder(t);
  const { clock, lines, succession, count, adminSocket } = setUp(t, { folder });
  await predecessor(t, adminSocket, GIVING);
  t.ok(await succession.succeed());
  t.equal(await count('taken'), 1);
  await clock.advance(59_999);
  t.equal(await count('overdue'), 0);
  await clock.advance(1);
  t.equal(await count('overdue'), 1);
  t.match(lines.at(-1), { level: 'error', msg: /two brokers run on this node/ });
});

t.test('one that is stopped in time is none', async (t) => {
  const folder = ownFolder(t);
  const { clock, lines, succession, count, adminSocket } = setUp(t, { folder });
  const end = await predecessor(t, adminSocket, GIVING);
  t.ok(await succession.succeed());
  end();
  await until(() => lines.some(({ msg }) => /before this one has ended/.test(msg)), 'its end');
  await clock.advance(600_000);
  t.equal(await count('overdue'), 0);
});

t.test('one that does not hand over is an error, on both sides', async (t) => {
  const folder = ownFolder(t);
  const second = setUp(t, { folder, cluster: 'another' });
  const first = setUp(t);
  const asked: Partial<Successor>[] = [];
  await predecessor(t, second.adminSocket, {
    ...GIVING,
    offer: (successor) => {
      asked.push(successor);
      return first.succession.actions.offer(successor);
    },
  });
  t.equal(await second.succession.succeed(), undefined);
  t.match(asked, [{ clusterName: 'another' }]);
  for (const side of [first, second]) {
    t.equal(await side.count('refused'), 1);
    t.match(side.lines, [{ level: 'error', msg: /^two brokers run on this node/ }]);
  }
  t.match(second.lines[0]?.reason, /it is of the cluster demo/);
});

t.test('one that says nothing is waited for two seconds', async (t) => {
  const { clock, lines, succession, count, adminSocket } = setUp(t);
  let asked = false;
  const silent = createServer(() => {
    asked = true;
  });
  silent.listen(adminSocket);
  await once(silent, 'listening');
  t.teardown(() => {
    silent.closeAllConnections();
    silent.close();
  });
  const found = succession.succeed();
  await until(() => asked, 'it is asked');
  await clock.advance(1_999);
  t.equal(await count('refused'), 0);
  await clock.advance(1);
  t.equal(await found, undefined);
  t.equal(await count('refused'), 1);
  t.match(lines, [{ level: 'error', reason: /no answer within 2 s/ }]);
  t.equal(clock.pending, 0);
});

t.test('a hand-over that fails is told, one that is cut is not', async (t) => {
  for (const [name, release, told] of [
    ['a release that fails', () => Promise.reject(new Error('the port is stuck')), 1],
    ['a successor that dies', () => Promise.resolve(), 0],
  ] as const) {
    const path = join(ownFolder(t), 'admin.sock');
    const { log, lines } = capturedLog();
    let reclaimed = 0;
    const admin = new AdminSocket(
      path,
      {
        flush: async () => ({ flushed: 0 }),
        status: () => ({}),
        explain: async () => ({}),
        handOver: {
          ...GIVING,
          release,
          reclaim: async () => {
            reclaimed += 1;
          },
        },
      },
      log,
    );
    await admin.start();
    t.teardown(() => admin.stop());
    const asked = request({ socketPath: path, method: 'POST', path: HAND_OVER_PATH, agent: false });
    asked.on('error', () => undefined);
    asked.write(`${JSON.stringify({ version: HAND_OVER_VERSION })}\n`);
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    answer.on('error', () => undefined).resume();
    asked.write(`${JSON.stringify({ release: true })}\n`);
    if (told === 0) asked.destroy();
    await until(() => reclaimed === 1 && lines.length >= told, `${name}: it takes all back`);
    t.equal(lines.length, told, name);
    if (told > 0) t.match(lines, [{ level: 'error', err: { message: 'the port is stuck' } }]);
  }
});

t.test('a port that another broker has, whose socket is elsewhere', async (t) => {
  const { lines, succession, count } = setUp(t);
  t.equal(await succession.succeed(), undefined, 'nobody is on the socket');
  t.strictSame(lines, []);
  const broker = createServer((_request, response) => {
    response.writeHead(404).end(errorBody(NOT_FOUND));
  });
  const agent = createServer((_request, response) => {
    response.writeHead(404).end('404 page not found\n');
  });
  const deaf = createSocketServer((socket) => socket.destroy());
  const addresses = [];
  for (const server of [agent, deaf, broker]) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.teardown(() => server.close());
    addresses.push({ host: '127.0.0.1', port: (server.address() as { port: number }).port });
  }
  t.strictSame(await Promise.all(addresses.map(isBroker)), [false, false, true]);
  t.equal(await succession.portTaken(addresses[2] as PortAddress), undefined);
  await until(async () => (await count('refused')) === 1, 'it is found to be a broker');
  t.match(lines, [{ level: 'error', reason: /it has the port/ }]);
  t.equal((await ask(addresses[2]?.port ?? 0, '/', 'GET', {})).status, 404);
});

for (const line of ['garbage', 'null', '7', '"text"']) {
  t.test(`a predecessor that answers ${line} does not hand over`, async (t) => {
    const { succession, count, adminSocket } = setUp(t);
    await answering(t, adminSocket, line);
    t.equal(await succession.succeed(), undefined);
    t.equal(await count('refused'), 1);
    t.equal(await count('taken'), 0);
  });
}

t.test('what answers in a folder of somebody else is not believed', async (t) => {
  const folder = ownFolder(t);
  const { clock } = setUp(t);
  await answering(t, join(folder, 'admin.sock'), JSON.stringify({ version: HAND_OVER_VERSION }));
  const link = `${ownFolder(t)}/link`;
  symlinkSync(folder, link);
  const successor = { clusterName: 'demo', port: 80 };
  await t.rejects(Predecessor.find(`${link}/admin.sock`, successor, clock), {
    code: 'ERR_NO_HAND_OVER',
    message: /is not a folder/,
  });
  t.ok(await Predecessor.find(`${folder}/admin.sock`, successor, clock), 'in its own it is');
  t.equal(
    await Predecessor.find(`${link}/none.sock`, successor, clock),
    undefined,
    'and nobody there is nobody',
  );
});

t.test('one successor at a time', async (t) => {
  const { succession } = setUp(t);
  const { actions } = succession;
  const successor = { clusterName: 'demo', port: 80 };
  t.match(actions.offer(successor), { sessions: [] });
  t.match(actions.offer(successor), { refused: /another one/, later: true });
  await actions.reclaim();
  t.match(actions.offer(successor), { sessions: [] }, 'when that one is gone');
});

t.test('whoever flushes a broker that has handed over is told so', async (t) => {
  const { succession } = setUp(t);
  t.equal(await succession.flush({}), undefined);
  succession.actions.offer({ clusterName: 'demo', port: 80 });
  await t.rejects(succession.flush({}), { code: 'ERR_HANDED_OVER' });
  await succession.actions.flush({});
  await succession.actions.reclaim();
  t.equal(await succession.flush({}), undefined, 'it is the only one again');
});

t.test('a broker that was taken over from, and started again, is not handed over to', async (t) => {
  const { clock, succession, adminSocket } = setUp(t);
  await predecessor(t, adminSocket, {
    ...GIVING,
    offer: () => ({ sessions: [], readyId: 'version-1' }),
  });
  t.ok(await succession.succeed());
  const { actions } = succession;
  const again = { clusterName: 'demo', port: 80, readyId: 'version-1' };
  t.match(actions.offer(again), { refused: /just taken over/, later: true });
  t.match(actions.offer({ ...again, readyId: 'version-3' }), { sessions: [] });
  await actions.reclaim();
  await clock.advance(60_000);
  t.match(actions.offer(again), { sessions: [] }, 'later it is the version before, wanted back');
});

t.test('while the port is taken, a broker is looked for every two seconds', async (t) => {
  const { clock, succession, adminSocket, lines } = setUp(t);
  const silent = await answering(t, adminSocket, 'garbage');
  const address = { host: '127.0.0.1', port: 1 };
  t.equal(await succession.portTaken(address), undefined);
  t.equal(silent.asked.times, 1);
  t.equal(await succession.portTaken(address), undefined);
  t.equal(silent.asked.times, 1, 'not at once');
  silent.end();
  await predecessor(t, adminSocket, GIVING);
  await clock.advance(2_000);
  const both = [succession.portTaken(address), succession.portTaken(address)];
  const [found, same] = await Promise.all(both);
  t.ok(found);
  t.equal(same, found, 'who asks for two addresses at once');
  t.equal(await succession.portTaken(address), found);
  t.equal(lines.filter(({ msg }) => /^taking over/.test(msg)).length, 1);
});

t.test('one that has said that it never hands over is not asked again', async (t) => {
  const { clock, succession, adminSocket, count } = setUp(t);
  const line = JSON.stringify({ version: HAND_OVER_VERSION, refused: 'it is of another cluster' });
  const { asked } = await answering(t, adminSocket, line);
  t.equal(await succession.succeed(), undefined);
  await clock.advance(60_000);
  t.equal(await succession.portTaken({ host: '127.0.0.1', port: 1 }), undefined);
  t.equal(asked.times, 1);
  t.equal(await count('refused'), 1);
});
