import { randomBytes } from 'node:crypto';
import t from 'tap';
import { AnnouncementForm } from '../../src/session-store/announcements.ts';
import { Claims, type LeaseOutcome } from '../../src/session-store/claims.ts';
import type { Entry } from '../../src/session-store/entries.ts';
import { LeaseWaiters } from '../../src/session-store/lease-waiters.ts';
import { Leases } from '../../src/session-store/leases.ts';
import { Names } from '../../src/session-store/names.ts';
import { Sealer } from '../../src/session-store/seal.ts';
import type {
  Claim,
  KeptCredentials,
  StoredSession,
} from '../../src/session-store/session-store.ts';
import { VersionClock } from '../../src/session-store/version-clock.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';
import { ScriptedLink } from './scripted-link.ts';

const SESSION: StoredSession = {
  key: 'service-account:shop/cart/uid',
  scope: 'service-account',
  namespace: 'shop',
  serviceAccount: 'cart',
};
const KEY = randomBytes(32);
const NAMES = new Names(KEY, { clusterName: 'c', nodeName: 'n', sharing: 'cluster' });
const ENTRY = ['entry', NAMES.entry(SESSION), '5', '100', '200', 'sealed'] as const;
const KEPT = {
  fetchedAt: 100,
  version: 5,
  role: { expiresAt: Date.parse('2026-01-01T01:00:00Z') },
} as KeptCredentials;
const BUDGET = 50;

function setUp({ hears = true } = {}) {
  const clock = new ManualClock();
  const link = new ScriptedLink();
  const waiters = new LeaseWaiters(clock);
  const versions = new VersionClock(clock);
  const outcomes: LeaseOutcome[] = [];
  const opened: Entry[] = [];
  const set = { opens: true, kept: KEPT };
  const claims = new Claims({
    clock,
    random: () => 0,
    budget: BUDGET,
    longestFetch: 10_000,
    link,
    names: [NAMES],
    leases: new Leases({ clock, link, onLost: () => outcomes.push('lost') }),
    waiters,
    versions,
    form: new AnnouncementForm(new Sealer([KEY]), 'c'),
    hears: () => hears,
    open: (entry) => {
      opened.push(entry);
      return set.opens ? set.kept : undefined;
    },
    onLease: (outcome) => outcomes.push(outcome),
  });
  const session = new AbortController();
  const claim = (shared = true, patience = 30_000, newerThan = 0) => {
    const got: { value?: Claim } = {};
    void claims
      .claim(SESSION, shared, { newerThan, patience, signal: session.signal })
      .then((value) => {
        got.value = value;
      });
    return got;
  };
  const wake = () => waiters.wake(NAMES.entry(SESSION));
  return { clock, link, claim, wake, session, outcomes, opened, set, versions };
}

t.test('what is kept needs no call', async (t) => {
  const { link, claim, outcomes, opened } = setUp();
  const got = claim();
  t.match(link.last, { purpose: 'claim', limit: BUDGET });
  link.last.answer(ENTRY);
  await settle();
  t.strictSame(got.value, { kind: 'kept', kept: KEPT });
  t.match(opened, [{ name: NAMES.entry(SESSION), version: '5', sealed: 'sealed' }]);
  t.strictSame(outcomes, ['kept']);
});

t.test('with the lease it is this broker that calls; releasing gives it up', async (t) => {
  const { clock, link, claim, outcomes, versions } = setUp();
  const got = claim();
  const version = versions.now() + 1_000_000_000;
  link.last.answer(['lease', `${version}`]);
  await settle();
  t.match(got.value, { kind: 'call', version });
  t.ok(versions.now() >= version, 'the version was heard');
  t.strictSame(outcomes, ['taken']);
  if (got.value?.kind === 'call') got.value.release();
  t.equal(link.of('release').length, 1);
  await clock.advance(10_000);
  t.equal(link.of('renew-lease').length, 0);
});

t.test('a session that ends while it is fetched gives its lease up', async (t) => {
  const { link, claim, session } = setUp();
  claim();
  link.last.answer(['lease', '9']);
  await settle();
  session.abort();
  t.equal(link.of('release').length, 1);
});

t.test('one that has ended before it has the lease, too', async (t) => {
  const { clock, link, claim, session } = setUp();
  claim();
  session.abort();
  link.last.answer(['lease', '9']);
  await settle();
  t.equal(link.of('release').length, 1);
  await clock.advance(10_000);
  t.equal(link.of('renew-lease').length, 0);
});

t.test('another broker calls: its result is waited for, not asked for', async (t) => {
  const { clock, link, claim, wake, outcomes } = setUp();
  const got = claim();
  link.last.answer(['held', 1_000]);
  await clock.advance(1_000);
  t.equal(link.sent.length, 1, 'nothing is asked meanwhile');
  wake();
  await settle();
  t.equal(link.sent.length, 2);
  link.last.answer(ENTRY);
  await settle();
  t.match(got.value, { kind: 'kept' });
  t.strictSame(outcomes, ['waited']);
});

t.test('one that dies is taken over from when its lease has ended', async (t) => {
  const { clock, link, claim, outcomes } = setUp();
  const got = claim();
  link.last.answer(['held', 700]);
  await clock.advance(719);
  t.equal(link.sent.length, 1);
  await clock.advance(1);
  t.equal(link.sent.length, 2, 'a moment after it should have ended');
  link.last.answer(['lease', '9']);
  await settle();
  t.match(got.value, { kind: 'call' });
  t.strictSame(outcomes, ['taken']);
});

t.test('who hears nothing looks from time to time', async (t) => {
  const { clock, link, claim } = setUp({ hears: false });
  claim();
  for (let look = 1; look <= 5; look += 1) {
    t.equal(link.sent.length, look);
    link.last.answer(['held', 1_000]);
    await clock.advance(100);
  }
});

t.test('the patience of whoever asks ends the wait', async (t) => {
  const { clock, link, claim, outcomes } = setUp();
  const got = claim(true, 500);
  link.last.answer(['held', 1_000]);
  await clock.advance(500);
  link.last.answer(['held', 500]);
  await settle();
  t.strictSame(got.value, { kind: 'elsewhere' });
  t.strictSame(outcomes, []);
});

t.test('Redis holds a claim up for its budget in all, over several looks', async (t) => {
  const { clock, link, claim, set, outcomes } = setUp();
  set.opens = false;
  const got = claim();
  await clock.advance(40);
  link.last.answer(ENTRY);
  await settle();
  t.equal(link.last.limit, BUDGET - 40, 'the second look has what is left');
  await clock.advance(10);
  link.last.fail('no answer');
  await settle();
  t.match(got.value, { kind: 'call' });
  t.strictSame(outcomes, ['redis-unavailable']);
});

t.test('entries that do not open are not looked at for ever', async (t) => {
  const { link, claim, set } = setUp();
  set.opens = false;
  const got = claim();
  for (let look = 0; look < 2; look += 1) {
    link.last.answer(ENTRY);
    await settle();
  }
  t.equal(link.sent.length, 2);
  t.match(got.value, { kind: 'call' });
});

t.test('with the circuit open nothing is asked', async (t) => {
  const { link, claim, outcomes, versions } = setUp();
  link.state = 'open';
  const got = claim();
  await settle();
  t.match(got.value, { kind: 'call', version: versions.now() });
  t.equal(link.sent.length, 0);
  t.strictSame(outcomes, ['redis-unavailable']);
});

t.test("what is the node's own has no lease", async (t) => {
  const { link, claim, outcomes } = setUp();
  const got = claim(false);
  t.equal(link.last.args.at(-1), 0, 'none is asked for');
  link.last.answer(['none']);
  await settle();
  t.match(got.value, { kind: 'call' });
  t.strictSame(outcomes, []);
});

t.test('an answer that is none is as good as no Redis', async (t) => {
  const other = NAMES.entry({ ...SESSION, key: 'service-account:shop/till/uid' });
  const answers: Readonly<Record<string, unknown>> = {
    null: null,
    'a number': 7,
    text: 'entry',
    'an empty list': [],
    'another kind': ['toString'],
    'a list of lists': [['entry'], [['name']]],
    'a lease without a version': ['lease'],
    'a lease of NaN': ['lease', 'NaN'],
    'a negative lease': ['lease', '-1'],
    'a huge lease': ['lease', '9'.repeat(400)],
    'a lease of the days to come': ['lease', '9000000000000000'],
    'a lease in a number': ['lease', 9],
    'a lease that never ends': ['held', -1],
    'one that ends in years': ['held', 1e12],
    'a lease held for text': ['held', '1000'],
    'an entry without fields': ['entry', NAMES.entry(SESSION)],
    'an entry of nulls': ['entry', NAMES.entry(SESSION), null, null, null, null],
    'an entry of lists': ['entry', NAMES.entry(SESSION), ['5'], '100', '200', 'sealed'],
    'a sealed number': ['entry', NAMES.entry(SESSION), '5', '100', '200', 5],
    'a huge entry': ['entry', NAMES.entry(SESSION), '5', '100', '200', 'A'.repeat(100_000)],
    "another session's entry": ['entry', other, '5', '100', '200', 'sealed'],
    'a name that is a list': ['entry', [NAMES.entry(SESSION)], '5', '100', '200', 'sealed'],
  };
  for (const [what, answer] of Object.entries(answers)) {
    const { link, claim, outcomes, opened, versions } = setUp();
    const got = claim();
    link.last.answer(answer);
    await settle();
    t.match(got.value, { kind: 'call', version: versions.now() }, what);
    t.strictSame(outcomes, ['redis-unavailable'], what);
    t.strictSame(opened, [], what);
    t.equal(link.sent.length, 1, what);
  }
});

t.test('what is no newer than what is held is no help', async (t) => {
  const { link, claim } = setUp();
  const got = claim(true, 30_000, KEPT.fetchedAt);
  for (let look = 0; look < 2; look += 1) {
    link.last.answer(ENTRY);
    await settle();
  }
  t.match(got.value, { kind: 'call' });
});

t.test('nor is what ends at once', async (t) => {
  const { clock, link, claim, set } = setUp();
  const role = { ...KEPT.role, expiresAt: clock.now() + 20_000 };
  set.kept = { ...KEPT, role };
  const got = claim();
  for (let look = 0; look < 2; look += 1) {
    link.last.answer(ENTRY);
    await settle();
  }
  t.match(got.value, { kind: 'call' });
});

t.test('a lease that is held for ever is not believed for ever', async (t) => {
  const { clock, link, claim, outcomes } = setUp();
  const started = clock.elapsed();
  // Over several claims, as flights that are shorter make them.
  let got = claim(true, 10_000);
  for (let looks = 0; got.value?.kind !== 'call' && looks < 100; looks += 1) {
    if (got.value?.kind === 'elsewhere') got = claim(true, 10_000);
    link.last.answer(['held', 1_000]);
    await clock.advance(1_020);
  }
  t.match(got.value, { kind: 'call' }, 'it is fetched without the lease');
  const waited = clock.elapsed() - started;
  t.ok(waited >= 20_000 && waited < 25_000, `after ${waited} ms`);
  const next = claim();
  link.last.answer(['held', 1_000]);
  await settle();
  t.match(next.value, { kind: 'call' }, 'nor waited for again');
  t.strictSame(outcomes, ['redis-unavailable', 'redis-unavailable']);
  claim();
  link.last.answer(['lease', '9']);
  await settle();
  const later = claim();
  link.last.answer(['held', 1_000]);
  await settle();
  t.equal(later.value, undefined, 'it is believed again once Redis has said anything else');
});

t.test('whoever is woken over and over goes on without the lease in the end', async (t) => {
  const { link, claim, wake, outcomes } = setUp();
  const got = claim();
  while (got.value === undefined && link.sent.length < 5_000) {
    link.last.answer(['held', 1_000]);
    wake();
    await settle();
  }
  t.match(got.value, { kind: 'call' });
  t.equal(link.sent.length, 1_000);
  t.strictSame(outcomes, ['redis-unavailable']);
});
