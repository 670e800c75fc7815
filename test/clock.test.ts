import t from 'tap';
import { ServiceClock, systemClock } from '../src/clock.ts';
import { ManualClock } from './support/manual-clock.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

function setUp() {
  const node = new ManualClock();
  return { node, clock: new ServiceClock(node) };
}

t.test("until the service is heard it is the node's clock", async (t) => {
  const { node, clock } = setUp();
  node.jump(DAY);
  t.equal(clock.now(), node.now());
  t.equal(clock.skew, 0);
  t.strictSame(clock.alternatives, []);
});

t.test('a node that is a minute off is corrected by one answer', async (t) => {
  for (const off of [MINUTE, -MINUTE]) {
    const { node, clock } = setUp();
    t.equal(clock.sync(node.now() - off), true, 'which is news');
    t.equal(clock.skew, off);
    await node.advance(MINUTE);
    t.equal(clock.skew, off, 'and stays so');
    t.equal(clock.sync(node.now() - off + 1_000), false, 'dates are to the second');
    t.equal(clock.skew, off);
  }
});

t.test('setting the node back changes nothing once the service was heard', async (t) => {
  const { node, clock } = setUp();
  clock.sync(node.now());
  const before = clock.now();
  node.jump(-DAY);
  await node.advance(MINUTE);
  t.equal(clock.now(), before + MINUTE);
  t.equal(clock.sync(before + MINUTE), false, 'nor does it when the service confirms that');
  t.equal(clock.now(), before + MINUTE);
});

t.test('a machine that was suspended goes on by its own clock', async (t) => {
  const { node, clock } = setUp();
  clock.sync(node.now() - 30_000);
  const before = clock.now();
  // CLOCK_MONOTONIC stands still meanwhile, the time of day does not.
  node.jump(7 * 60 * MINUTE);
  t.equal(clock.now(), before + 7 * 60 * MINUTE, 'before anybody is asked');
  t.equal(clock.skew, 30_000);
  clock.sync(before + 7 * 60 * MINUTE);
  await node.advance(MINUTE);
  t.equal(clock.now(), before + 7 * 60 * MINUTE + MINUTE, 'and the service agrees');
});

t.test('a node that was set ahead is believed until the next answer alone', async (t) => {
  const { node, clock } = setUp();
  clock.sync(node.now());
  const right = node.now();
  node.jump(2 * DAY);
  t.strictSame(clock.alternatives, [right], 'what the time may be as well');
  t.equal(clock.sync(right), true);
  t.equal(clock.now(), right);
  t.equal(clock.skew, 2 * DAY);
});

t.test('one answer does not move it by days', async (t) => {
  for (const lie of [2 * DAY, -2 * DAY]) {
    const { node, clock } = setUp();
    clock.sync(node.now());
    t.equal(clock.sync(node.now() + lie), false);
    t.equal(clock.now(), node.now());
    clock.sync(node.now());
    t.equal(clock.sync(node.now() + lie), false, 'nor a second one, with a right one in between');
    t.equal(clock.now(), node.now());
  }
});

t.test('two answers in a row do, and one that fits the node takes it back', async (t) => {
  for (const ahead of [2 * DAY, -2 * DAY]) {
    const { node, clock } = setUp();
    clock.sync(node.now() + ahead);
    await node.advance(MINUTE);
    t.equal(clock.sync(node.now() + ahead + 1_000), true, 'told a minute apart, to the second');
    t.equal(clock.skew, -ahead - 1_000);
    t.strictSame(clock.alternatives, [node.now()]);
    t.equal(clock.sync(node.now()), false);
    t.equal(clock.skew, 0);
    t.strictSame(clock.alternatives, []);
  }
});

t.test('two answers that do not agree prove nothing', async (t) => {
  const { node, clock } = setUp();
  clock.sync(node.now());
  for (const days of [1, 2, 3, 4]) clock.sync(node.now() + days * DAY);
  t.equal(clock.skew, 0);
});

t.test('timers follow the time that never jumps', async (t) => {
  const { node, clock } = setUp();
  let fired = 0;
  clock.setTimeout(() => {
    fired += 1;
  }, 1_000);
  const taken = clock.setTimeout(() => {
    fired += 10;
  }, 1_000);
  clock.clearTimeout(taken);
  node.jump(DAY);
  await node.advance(999);
  t.equal(fired, 0);
  await node.advance(1);
  t.equal(fired, 1);
  t.equal(clock.elapsed(), node.elapsed());
});

t.test("a delay beyond the longest of Node's timers does not end at once", async (t) => {
  let called = false;
  const timer = systemClock.setTimeout(() => {
    called = true;
  }, 2 ** 31);
  const { promise, resolve } = Promise.withResolvers<void>();
  systemClock.setTimeout(resolve, 5);
  await promise;
  t.notOk(called);
  systemClock.clearTimeout(timer);
});
