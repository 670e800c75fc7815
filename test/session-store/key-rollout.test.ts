import { randomBytes } from 'node:crypto';
import t from 'tap';
import { needsProgram } from '../support/needs.ts';
import { keyFile, startRedis } from '../support/redis-server.ts';
import { until } from '../support/until.ts';
import { credentials, session, startStore, written } from './stores.ts';

// While a new key is rolled out, brokers with the file of before and with the next one share their
// sessions.

const skip = needsProgram('redis-server');
const [OLD, NEW] = [randomBytes(32), randomBytes(32)];
const STEPS = [
  { before: [OLD], after: [OLD, NEW] },
  { before: [OLD, NEW], after: [NEW, OLD] },
  { before: [NEW, OLD], after: [NEW] },
];

for (const [index, { before, after }] of STEPS.entries()) {
  t.test(`step ${index + 1}`, { skip }, async (t) => {
    const redis = await startRedis(t);
    const nodes = await Promise.all(
      [before, after].map(async (keys, node) => {
        const options = { url: redis.url, keyFile: keyFile(t, ...keys), nodeName: `node-${node}` };
        const started = await startStore(t, options);
        await started.closed();
        await until(() => started.store.state.announcements?.heard === true, 'it hears');
        return started;
      }),
    );
    const [one, other] = nodes as [(typeof nodes)[0], (typeof nodes)[0]];
    for (const [from, to, account] of [
      [one, other, 'cart'],
      [other, one, 'till'],
    ] as const) {
      const { fetchedAt } = await from.fetch(account);
      await written(from);
      t.equal((await to.fetch(account)).fetchedAt, fetchedAt, 'shared');
      await written(to);
      t.ok(await from.store.flush({}));
      await until(() => to.held.size === 0, 'a flush is heard');
      from.held.clear();
      const again = await to.fetch(account);
      t.not(again.fetchedAt, fetchedAt, 'and what was flushed is not there any more');
      await written(to);
    }

    const claims = await Promise.all(
      nodes.map(({ store }) =>
        store.claim(session('search'), {
          newerThan: 0,
          patience: 500,
          signal: new AbortController().signal,
        }),
      ),
    );
    t.same(claims.map(({ kind }) => kind).sort(), ['call', 'elsewhere'], 'one of them calls');
    for (const claim of claims) if (claim.kind === 'call') claim.release();

    // Whoever waits is given what the other one fetches.
    for (const [from, to, account] of [
      [one, other, 'search'],
      [other, one, 'pay'],
    ] as const) {
      const options = { newerThan: 0, patience: 30_000, signal: new AbortController().signal };
      const claim = await from.store.claim(session(account), options);
      if (claim.kind !== 'call') throw new Error(claim.kind);
      const waiting = to.store.claim(session(account), options);
      const { version } = claim;
      const kept = { role: credentials(account), fetchedAt: Date.now(), version };
      from.store.keep(session(account), kept, false);
      t.same(await waiting, { kind: 'kept', kept });
    }
  });
}
