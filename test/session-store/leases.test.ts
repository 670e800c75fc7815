import t from 'tap';
import { Leases } from '../../src/session-store/leases.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';
import { ScriptedLink } from './scripted-link.ts';

function setUp() {
  const clock = new ManualClock();
  const link = new ScriptedLink();
  const counts = { lost: 0, ended: 0 };
  const leases = new Leases({
    clock,
    link,
    onLost: () => {
      counts.lost += 1;
    },
  });
  const hold = (version = 7) =>
    leases.hold('lease', version, () => {
      counts.ended += 1;
    });
  return { clock, link, leases, hold, counts };
}

t.test('a lease is renewed well before it ends, for as long as it is held', async (t) => {
  const { clock, link, hold, counts } = setUp();
  hold();
  for (let renewal = 1; renewal <= 5; renewal += 1) {
    await clock.advance(299);
    t.equal(link.sent.length, renewal - 1);
    await clock.advance(1);
    t.equal(link.sent.length, renewal);
    t.match(link.last, { purpose: 'renew-lease', keys: ['lease'], args: [7, 1_000] });
    link.last.answer(1);
    await settle();
  }
  t.strictSame(counts, { lost: 0, ended: 0 });
});

t.test('one that another broker has taken is given up', async (t) => {
  const { clock, link, hold, counts } = setUp();
  hold();
  await clock.advance(300);
  link.last.answer(0);
  await clock.advance(10_000);
  t.equal(link.sent.length, 1);
  t.strictSame(counts, { lost: 1, ended: 1 });
});

t.test('a renewal without an answer is no reason to give up', async (t) => {
  const { clock, link, hold, counts } = setUp();
  hold();
  await clock.advance(300);
  link.last.fail('no answer');
  await clock.advance(300);
  t.equal(link.sent.length, 2);
  t.equal(counts.lost, 0);
});

t.test('one that nobody ends is not renewed for ever', async (t) => {
  const { clock, link, hold, counts } = setUp();
  hold();
  for (let renewal = 0; renewal < 700; renewal += 1) {
    await clock.advance(300);
    link.last.answer(1);
    await settle();
  }
  t.equal(link.sent.length, 600, 'three minutes: longer than any call takes');
  t.equal(counts.lost, 1);
  t.equal(clock.pending, 0);
});

t.test('released, it is given up in Redis, once', async (t) => {
  const { clock, link, leases, hold, counts } = setUp();
  const lease = hold();
  leases.release(lease, 'channel', 'released');
  leases.release(lease, 'channel', 'released');
  t.strictSame(
    link.sent.map(({ purpose, keys, args }) => ({ purpose, keys, args })),
    [{ purpose: 'release', keys: ['lease'], args: [7, 'channel', 'released'] }],
  );
  link.last.fail('no answer');
  await clock.advance(10_000);
  t.equal(link.sent.length, 1);
  t.equal(counts.ended, 1);
});

t.test('only the lease of that version ends', async (t) => {
  const { clock, link, leases, hold, counts } = setUp();
  hold(7);
  leases.end('lease', 6);
  t.equal(counts.ended, 0);
  hold(8);
  t.equal(counts.ended, 1, 'the one before it');
  leases.end('lease', 8);
  await clock.advance(10_000);
  t.equal(link.sent.length, 0);
  t.equal(counts.ended, 2);
});
