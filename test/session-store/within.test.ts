import t from 'tap';
import { within } from '../../src/session-store/within.ts';
import { ManualClock } from '../support/manual-clock.ts';

const BUDGET = 50;

/** What becomes of an answer that is waited for. */
function wait<T>(clock: ManualClock, answer: Promise<T>) {
  const got: { value?: T; code?: string } = {};
  const ended = within(clock, BUDGET, answer).then(
    (value) => {
      got.value = value;
    },
    ({ code }) => {
      got.code = code;
    },
  );
  return { got, ended };
}

t.test('an answer is waited for as long as its budget is, and no longer', async (t) => {
  const clock = new ManualClock();
  const { got, ended } = wait(clock, new Promise(() => undefined));
  await clock.advance(BUDGET - 1);
  t.strictSame(got, {});
  await clock.advance(1);
  await ended;
  t.strictSame(got, { code: 'ERR_REDIS_TIMEOUT' });
  t.equal(clock.pending, 0);
});

t.test('one that comes in time is passed on at once, as is a failure', async (t) => {
  const clock = new ManualClock();
  const { promise, resolve } = Promise.withResolvers<string>();
  const { got, ended } = wait(clock, promise);
  await clock.advance(BUDGET - 1);
  resolve('answer');
  await ended;
  t.strictSame(got, { value: 'answer' });
  t.equal(clock.pending, 0, 'nothing is waited for any more');
  const failed = wait(clock, Promise.reject(Object.assign(new Error('no'), { code: 'NO' })));
  await failed.ended;
  t.strictSame(failed.got, { code: 'NO' });
});
