import t from 'tap';
import { sessionHolder } from '../../src/sessions/stored-sessions.ts';
import { AUDIENCE, HOUR, SessionsHarness } from '../support/sessions-harness.ts';

// Sessions that come out of a store: served to whoever is verified, renewed with the next live
// token that asks, and never older than what is held.

const KEY = 'service-account:shop/cart';

function warm(
  harness: SessionsHarness,
  change: { fetchedAt?: number; expiresAt?: number; version?: number } = {},
) {
  const { clock, sessions } = harness;
  const {
    fetchedAt = clock.now() - HOUR,
    expiresAt = clock.now() + 5 * HOUR,
    version = 1,
  } = change;
  sessions.restore(
    { key: KEY, scope: 'service-account', namespace: 'shop', serviceAccount: 'cart' },
    {
      fetchedAt,
      version,
      role: {
        accessKeyId: `ASIA-kept-${fetchedAt}`,
        secretAccessKey: 'made-up',
        sessionToken: 'made-up',
        expiresAt,
        subject: { namespace: 'shop', serviceAccount: 'cart' },
        audience: AUDIENCE,
        associationArn: 'arn:aws:eks:us-east-1:111122223333:podidentityassociation/c/a-1',
        associationId: 'a-1',
        assumedRoleArn: 'arn:aws:sts::111122223333:assumed-role/cart/session',
        assumedRoleId: 'AROA:session',
        requestId: 'request',
      },
    },
  );
}

t.test('who is verified is served without a call', async (t) => {
  const harness = new SessionsHarness();
  warm(harness);
  const opened = harness.open(harness.pod('cart', 'a'));
  t.match(opened, { kind: 'credentials', stale: false });
  t.equal(harness.calls.length, 0);
});

t.test('who is not verified is not: EKS Auth judges', async (t) => {
  const harness = new SessionsHarness();
  warm(harness);
  const live = harness.pod('cart', 'a');
  t.notOk(harness.sessions.costsNoCall(KEY, live.token));
  const opened = harness.sessions.open(KEY, 'service-account', live, 'unverified');
  t.equal(opened.kind, 'fetch');
  await harness.clock.advance(1);
  t.equal(harness.calls.length, 1);
});

t.test('it is renewed when it is due, with the token of whoever asks', async (t) => {
  const harness = new SessionsHarness();
  harness.auto = (call) => call.grant();
  warm(harness);
  await harness.clock.advance(3 * HOUR);
  t.equal(harness.calls.length, 0, 'there is no token to renew it with');
  const live = harness.pod('cart', 'a');
  t.match(harness.open(live), { kind: 'credentials' });
  await harness.clock.advance(1_000);
  t.strictSame(
    harness.calls.map(({ token }) => token),
    [live.token],
  );
  t.equal(harness.sessions.find(KEY)?.credentials?.accessKeyId, 'ASIA1');
});

t.test('it goes with its credentials', async (t) => {
  const harness = new SessionsHarness();
  warm(harness, { expiresAt: harness.clock.now() + 60_000 });
  t.equal(harness.sessions.size, 1);
  await harness.clock.advance(46_000);
  t.equal(harness.sessions.size, 0, '15 s before they expire');
  warm(harness, { expiresAt: harness.clock.now() + 10_000 });
  t.equal(harness.sessions.size, 0, 'nothing that cannot be served is taken in');
});

t.test('newer credentials take the place of older ones, and never the other way', async (t) => {
  const harness = new SessionsHarness();
  const id = () => harness.sessions.find(KEY)?.credentials?.accessKeyId;
  const now = harness.clock.now();
  warm(harness, { fetchedAt: now - 2_000 });
  warm(harness, { fetchedAt: now - 3_000 });
  t.equal(id(), `ASIA-kept-${now - 2_000}`);
  warm(harness, { fetchedAt: now - 1_000 });
  t.equal(id(), `ASIA-kept-${now - 1_000}`);
  t.equal(harness.sessions.size, 1);
  harness.sessions.endFetchedBy(KEY, now - 2_000);
  t.equal(harness.sessions.size, 1, 'what was revoked is older');
  harness.sessions.endFetchedBy(KEY, now - 1_000);
  t.equal(harness.sessions.size, 0);
});

t.test(
  'a flush that is heard of late beats the fetch before it, whatever came since',
  async (t) => {
    const harness = new SessionsHarness();
    const { sessions, clock } = harness;
    const holder = sessionHolder(sessions);
    const outcome = harness.fetch(harness.pod('cart', 'a'));
    await clock.advance(0);
    const session = sessions.find(KEY);
    if (session === undefined) throw new Error('nothing is fetched');
    session.fetchVersion = 3;
    // Another broker has fetched after the flush, which this one has not heard of yet.
    warm(harness, { fetchedAt: clock.now(), version: 5 });
    holder.flushBefore({}, 3);
    t.equal(session.ended, false, 'a flush before all of it');
    holder.flushBefore({ namespace: 'bank' }, 4);
    t.equal(session.ended, false, 'nor is it of that namespace');
    holder.flushBefore({ namespace: 'shop' }, 4);
    harness.calls[0]?.grant();
    t.match(await outcome, { ok: false, failure: { kind: 'superseded' } });
    t.equal(sessions.size, 0);
  },
);

t.test('a flush that is heard of late leaves what was fetched since', async (t) => {
  const harness = new SessionsHarness();
  warm(harness, { version: 5 });
  const holder = sessionHolder(harness.sessions);
  holder.flushBefore({}, 5);
  t.equal(harness.sessions.size, 1);
  holder.flushBefore({}, 6);
  t.equal(harness.sessions.size, 0);
});

t.test('a warm start keeps within the bound', async (t) => {
  const harness = new SessionsHarness({ maxCacheSize: 0 });
  warm(harness);
  t.equal(harness.sessions.size, 0);
});

t.test('a store is told what was verified, and what EKS Auth alone has judged', async (t) => {
  const harness = new SessionsHarness();
  harness.auto = (call) => call.grant();
  const { sessions, clock } = harness;
  const proven = () => [...sessionHolder(sessions).held()].map(({ proven }) => proven);
  const live = harness.pod('cart', 'a');
  sessions.open('token:a', 'token', live, 'unverified');
  await clock.advance(1);
  t.strictSame(proven(), [false]);
  // The hand-over says so too, since it may be what a broker before this one has judged.
  const handed = new SessionsHarness();
  const [held] = [...sessionHolder(sessions).held()];
  if (held === undefined) throw new Error('nothing is held');
  handed.sessions.restore(held.session, held.kept, false);
  t.strictSame(
    [...sessionHolder(handed.sessions).held()].map((each) => each.proven),
    [false],
  );
  sessions.open('token:a', 'token', live, 'foreground');
  t.strictSame(proven(), [true], 'it was verified since');
  sessions.adopt('token:a', KEY, 'service-account');
  t.strictSame(proven(), [true]);
  t.equal(sessions.find(KEY)?.proven, true);
});
