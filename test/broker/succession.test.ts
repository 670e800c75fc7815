import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, request } from 'node:http';
import { createServer as createSocketServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Command } from 'commander';
import t, { type Test } from 'tap';
import { Succession } from '../../src/broker/succession.ts';
import { systemClock } from '../../src/clock.ts';
import { addServerOptions, serverConfig } from '../../src/config/server-options.ts';
import { AdminSocket } from '../../src/listener/admin-socket.ts';
import { errorBody, NOT_FOUND } from '../../src/listener/answers.ts';
import {
  HAND_OVER_PATH,
  HAND_OVER_VERSION,
  type HandedSession,
  type HandOverActions,
  type HandOverOffer,
  handOver,
  type Successor,
} from '../../src/listener/hand-over.ts';
import type { PortAddress } from '../../src/listener/listener.ts';
import { isBroker } from '../../src/listener/port-holder.ts';
import { Predecessor } from '../../src/listener/predecessor.ts';
import { Metrics } from '../../src/telemetry/metrics/metrics.ts';
import { ask } from '../support/ask.ts';
import { capturedLog } from '../support/captured-log.ts';
import { SessionsHarness } from '../support/sessions-harness.ts';
import { until } from '../support/until.ts';

/** A folder of this user's alone, under a name that is short enough for a socket in it. */
function ownFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'broker-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A broker's side of hand-overs, with real sessions and metrics. */
function setUp(t: Test, { folder = ownFolder(t), cluster = 'demo' } = {}) {
  const { clock, sessions } = new SessionsHarness();
  const metrics = new Metrics();
  t.teardown(() => metrics.stop());
  const { log, lines } = capturedLog();
  const adminSocket = join(folder, 'admin.sock');
  const succession = new Succession({
    clock,
    config: configOf(`--cluster-name=${cluster}`, `--admin-socket=${adminSocket}`),
    log,
    metrics: metrics.node,
    sessions,
    listener: { startProbes: async () => {}, stopProbes: async () => {}, succeeded: false },
    admin: () => ({ start: async () => {}, release: () => {}, listening: false }),
  });
  const count = async (result: string) => {
    const text = await metrics.registry.metrics();
    const line = new RegExp(
      `^pod_identity_broker_handovers_total{result="${result}"} (\\d+)$`,
      'm',
    );
    return Number(line.exec(text)?.[1]);
  };
  return { clock, lines, sessions, succession, count, adminSocket };
}

function configOf(...args: readonly string[]) {
  const command = addServerOptions(new Command('server')).exitOverride();
  return serverConfig(command.parse(args, { from: 'user' }), {});
}

/** A broker that hands over as it is told, on a socket; the test ends it. */
async function predecessor(t: Test, adminSocket: string, actions: HandOverActions) {
  const server = createServer((request, response) => void handOver(request, response, actions));
  server.listen(adminSocket);
  await once(server, 'listening');
  const end = () => {
    server.closeAllConnections();
    server.close();
  };
  t.teardown(end);
  return end;
}

const GIVING: HandOverActions = {
  offer: () => ({ sessions: [], readyId: undefined }),
  flush: async () => {},
  release: async () => {},
  reclaim: async () => {},
};

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

/** A session as it goes over. */
const HANDED: HandedSession = {
  session: {
    key: 'service-account:shop/cart/uid',
    scope: 'service-account',
    namespace: 'shop',
    serviceAccount: 'cart',
  },
  kept: {
    role: {
      accessKeyId: 'ASIAEXAMPLE',
      secretAccessKey: 'made up',
      sessionToken: 'made up as well',
      expiresAt: Date.parse('2026-01-01T06:00:00Z'),
      subject: { namespace: 'shop', serviceAccount: 'cart' },
      audience: 'pods.eks.amazonaws.com',
      associationArn: 'arn:aws:eks:us-east-1:111122223333:podidentityassociation/c/a-1',
      associationId: 'a-1',
      assumedRoleArn: 'arn:aws:sts::111122223333:assumed-role/cart/eks-c-cart-1',
      assumedRoleId: 'AROA:eks-c-cart-1',
      requestId: 'request-1',
    },
    fetchedAt: Date.parse('2026-01-01T00:00:00Z'),
  },
};

for (const [version, given] of [
  [HAND_OVER_VERSION, 1],
  [HAND_OVER_VERSION + 1, 0],
] as const) {
  t.test(`a successor that speaks version ${version} is given ${given} sessions`, async (t) => {
    const socketPath = join(ownFolder(t), 'admin.sock');
    await predecessor(t, socketPath, {
      ...GIVING,
      offer: () => ({ sessions: [HANDED], readyId: undefined }),
    });
    const asked = request({ socketPath, method: 'POST', path: HAND_OVER_PATH });
    t.teardown(() => asked.destroy());
    asked.write(`${JSON.stringify({ version, clusterName: 'demo', port: 80 })}\n`);
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    const reader = createInterface({ input: answer });
    // It is cut off when the test is over.
    reader.on('error', () => undefined);
    const [line] = (await once(reader, 'line')) as [string];
    const offer = JSON.parse(line) as HandOverOffer;
    t.equal(offer.version, HAND_OVER_VERSION);
    t.equal(offer.sessions?.length, given);
  });

  t.test(`of a predecessor that speaks version ${version}, ${given} are taken`, async (t) => {
    const socketPath = join(ownFolder(t), 'admin.sock');
    const server = createServer((_request, response) => {
      response.write(`${JSON.stringify({ version, sessions: [HANDED] })}\n`);
    });
    server.listen(socketPath);
    await once(server, 'listening');
    t.teardown(() => {
      server.closeAllConnections();
      server.close();
    });
    const successor = { clusterName: 'demo', port: 80 };
    let found: Predecessor | undefined;
    void Predecessor.find(socketPath, successor, systemClock).then((one) => {
      found = one;
    });
    // Its connection holds nobody up, this process neither.
    await until(() => found !== undefined, 'it is found');
    t.equal(found?.sessions.length, given, 'it takes over either way');
  });
}

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

/** Something on a socket that answers every hand-over with this line. */
async function answering(t: Test, socketPath: string, line: string) {
  const asked = { times: 0 };
  const server = createServer((_request, response) => {
    asked.times += 1;
    response.write(`${line}\n`);
  });
  server.listen(socketPath);
  await once(server, 'listening');
  const end = () => {
    server.closeAllConnections();
    server.close();
  };
  t.teardown(end);
  return { asked, end };
}

for (const line of ['garbage', 'null', '7', '"text"']) {
  t.test(`a predecessor that answers ${line} does not hand over`, async (t) => {
    const { succession, count, adminSocket } = setUp(t);
    await answering(t, adminSocket, line);
    t.equal(await succession.succeed(), undefined);
    t.equal(await count('refused'), 1);
    t.equal(await count('taken'), 0);
  });
}

t.test('sessions that cannot be read are left out', async (t) => {
  const { session, kept } = HANDED;
  const other = { namespace: 'shop', serviceAccount: 'till' };
  const sessions = [
    null,
    7,
    {},
    { session },
    { session, kept: null },
    { session, kept: { ...kept, role: { ...kept.role, secretAccessKey: undefined } } },
    { session, kept: { ...kept, role: { ...kept.role, expiresAt: 'soon' } } },
    { session, kept: { ...kept, role: { ...kept.role, subject: other } } },
    { session, kept: { ...kept, fetchedAt: 'now' } },
    { session, kept: { ...kept, version: 'latest' } },
    { session: { ...session, scope: 'cluster' }, kept },
    { session: { ...session, key: 7 }, kept },
    HANDED,
  ];
  for (const [given, expected] of [
    [sessions, [HANDED]],
    ['sessions', []],
    [undefined, []],
  ] as const) {
    await t.test(JSON.stringify(given ?? 'none').slice(0, 40), async (t) => {
      const { adminSocket, clock } = setUp(t);
      const line = JSON.stringify({ version: HAND_OVER_VERSION, sessions: given });
      await answering(t, adminSocket, line);
      const found = await Predecessor.find(adminSocket, { clusterName: 'demo', port: 80 }, clock);
      t.strictSame(found?.sessions, expected);
    });
  }
});

t.test('credentials for another audience are not taken over', async (t) => {
  const { succession, adminSocket, sessions } = setUp(t);
  const role = { ...HANDED.kept.role, audience: 'sts.amazonaws.com' };
  const key = 'pod:shop/cart/uid';
  const foreign = {
    session: { ...HANDED.session, key, scope: 'pod' as const },
    kept: { ...HANDED.kept, role },
  };
  await predecessor(t, adminSocket, {
    ...GIVING,
    offer: () => ({ sessions: [HANDED, foreign], readyId: undefined }),
  });
  t.ok(await succession.succeed());
  t.strictSame(
    [...sessions.all()].map((one) => one.key),
    [HANDED.session.key],
  );
});

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
