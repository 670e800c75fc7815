import t from 'tap';
import { UnansweredCalls } from '../../src/sessions/unanswered-calls.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** A call, and whether it was found out to be lost. */
function begin(calls: UnansweredCalls) {
  const call = calls.begin();
  const state = { overtaken: false, end: call.end };
  void call.overtaken.then(() => {
    state.overtaken = true;
  });
  return state;
}

t.test('a call is made again once one that began later is answered', async (t) => {
  const clock = new ManualClock();
  const calls = new UnansweredCalls(clock);
  // The one that is made again whatever the others do.
  begin(calls);
  await clock.advance(100);
  const lost = begin(calls);
  await clock.advance(4_000);
  const answered = begin(calls);
  await clock.advance(100);
  answered.end(true);
  t.notOk(lost.overtaken, 'it may be slow');
  await clock.advance(1_700);
  t.notOk(lost.overtaken, 'for six seconds');
  await clock.advance(200);
  t.ok(lost.overtaken);
});

t.test('an answer that comes after the six seconds counts at once', async (t) => {
  const clock = new ManualClock();
  const calls = new UnansweredCalls(clock);
  begin(calls);
  const lost = begin(calls);
  await clock.advance(7_000);
  const answered = begin(calls);
  await clock.advance(50);
  t.notOk(lost.overtaken);
  answered.end(true);
  await clock.advance(0);
  t.ok(lost.overtaken);
});

t.test('a slow EKS Auth answers in order, and no call is made twice', async (t) => {
  const clock = new ManualClock();
  const calls = new UnansweredCalls(clock);
  begin(calls).end(false);
  const slow = begin(calls);
  const beside = begin(calls);
  await clock.advance(1_000);
  const after = begin(calls);
  await clock.advance(4_000);
  slow.end(true);
  beside.end(true);
  await clock.advance(900);
  after.end(true);
  await clock.advance(60_000);
  t.strictSame(
    [slow, beside, after].map(({ overtaken }) => overtaken),
    [false, false, false],
  );
});

t.test('while nothing is answered, one call in six seconds is made again', async (t) => {
  const clock = new ManualClock();
  const calls = new UnansweredCalls(clock);
  const all = Array.from({ length: 50 }, () => begin(calls));
  const overtaken = () => all.filter((call) => call.overtaken).length;
  await clock.advance(5_999);
  t.equal(overtaken(), 0);
  await clock.advance(1);
  t.equal(overtaken(), 1);
  await clock.advance(5_999);
  t.equal(overtaken(), 1);
  await clock.advance(1);
  t.equal(overtaken(), 2);
});

t.test('failures say nothing, and calls that ended leave no timer behind', async (t) => {
  const clock = new ManualClock();
  const calls = new UnansweredCalls(clock);
  const all = Array.from({ length: 5 }, () => begin(calls));
  await clock.advance(3_000);
  const refused = begin(calls);
  refused.end(false);
  await clock.advance(2_999);
  t.ok(all.every((call) => !call.overtaken));
  for (const call of all) call.end(false);
  t.equal(clock.pending, 0);
});
