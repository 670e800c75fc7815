import t from 'tap';
import { LeaseWaiters } from '../../src/session-store/lease-waiters.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';

function setUp() {
  const clock = new ManualClock();
  const waiters = new LeaseWaiters(clock);
  const { signal, abort } = ((controller) => ({
    signal: controller.signal,
    abort: () => controller.abort(),
  }))(new AbortController());
  const over: string[] = [];
  const wait = (name: string, entry = 'entry', atMost = 1_000) => {
    const waiter = waiters.enter(entry);
    void waiter.wait(atMost, signal).then(() => over.push(name));
    return waiter;
  };
  return { clock, waiters, signal, abort, over, wait };
}

t.test('all who wait for an entry are woken, and nobody else', async (t) => {
  const { clock, waiters, over, wait } = setUp();
  wait('one');
  wait('two');
  wait('other', 'other');
  waiters.wake('entry');
  await settle();
  t.strictSame(over, ['one', 'two']);
  t.equal(clock.pending, 1, 'no timer of theirs is left');
});

t.test('what happens before the wait is not missed, and is waited for once', async (t) => {
  const { waiters, signal, clock } = setUp();
  const waiter = waiters.enter('entry');
  waiters.wake('entry');
  await waiter.wait(1_000, signal);
  let over = false;
  void waiter.wait(1_000, signal).then(() => {
    over = true;
  });
  await clock.advance(999);
  t.notOk(over, 'the second wait is for the next');
  await clock.advance(1);
  t.ok(over);
});

t.test('the time is over, or the session ends', async (t) => {
  const { clock, abort, over, wait } = setUp();
  wait('short', 'entry', 100);
  wait('long', 'entry', 10_000);
  await clock.advance(100);
  t.strictSame(over, ['short']);
  abort();
  await settle();
  t.strictSame(over, ['short', 'long']);
  t.equal(clock.pending, 0);
});

t.test('when nothing is heard any more, all look for themselves', async (t) => {
  const { waiters, over, wait } = setUp();
  wait('one');
  wait('other', 'other');
  waiters.wakeAll();
  await settle();
  t.strictSame(over, ['one', 'other']);
});

t.test('who has left is not woken', async (t) => {
  const { clock, waiters, over, wait } = setUp();
  const waiter = wait('one');
  waiter.leave();
  waiters.wake('entry');
  await settle();
  t.strictSame(over, []);
  await clock.advance(1_000);
  t.strictSame(over, ['one'], 'its wait ends by itself');
});
