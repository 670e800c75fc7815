import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { systemClock } from '../../src/clock.ts';
import {
  HAND_OVER_PATH,
  HAND_OVER_VERSION,
  type HandOverOffer,
} from '../../src/listener/hand-over.ts';
import { Predecessor } from '../../src/listener/predecessor.ts';
import { until } from '../support/until.ts';
import { answering, GIVING, HANDED, ownFolder, predecessor, setUp } from './succession-harness.ts';

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
