import t from 'tap';
import { CallPace } from '../../src/sessions/call-pace.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** Calls a service with a quota as fast as the pace allows, and counts. */
async function callFor(
  pace: CallPace,
  clock: ManualClock,
  seconds: number,
  quota: number,
): Promise<{ calls: number; answered: number }> {
  let tokens = quota;
  let calls = 0;
  let answered = 0;
  for (let ms = 0; ms < seconds * 1_000; ms += 5) {
    tokens = Math.min(quota, tokens + (quota * 5) / 1_000);
    while (pace.earliest <= clock.elapsed() && calls < 1e6) {
      if (pace.rate === Number.POSITIVE_INFINITY && tokens < 1) {
        pace.started();
        pace.ended('throttled');
        calls += 1;
        break;
      }
      pace.started();
      calls += 1;
      if (tokens >= 1) {
        tokens -= 1;
        answered += 1;
        pace.ended('answered');
      } else pace.ended('throttled');
    }
    await clock.advance(5);
  }
  return { calls, answered };
}

t.test('there is no bound until the service throttles', async (t) => {
  const clock = new ManualClock();
  const pace = new CallPace(clock);
  for (let call = 0; call < 1_000; call += 1) {
    t.ok(pace.earliest <= clock.elapsed());
    pace.started();
    pace.ended('answered');
  }
  t.equal(pace.rate, Number.POSITIVE_INFINITY);
});

t.test('the operator can set one', async (t) => {
  const clock = new ManualClock();
  const pace = new CallPace(clock, 10);
  let calls = 0;
  for (let ms = 0; ms < 1_000; ms += 10) {
    while (pace.earliest <= clock.elapsed()) {
      pace.started();
      pace.ended('answered');
      calls += 1;
    }
    await clock.advance(10);
  }
  t.ok(calls >= 9 && calls <= 11, `${calls} calls in a second`);
});

for (const quota of [2, 5, 20, 100]) {
  t.test(`throttled at ${quota}/s it settles at no more than 1.2 times that`, async (t) => {
    const clock = new ManualClock();
    const pace = new CallPace(clock);
    await callFor(pace, clock, 10, quota);
    const { calls, answered } = await callFor(pace, clock, 30, quota);
    t.ok(calls <= 1.2 * quota * 30, `${calls} calls in 30 s`);
    t.ok(answered >= 0.6 * quota * 30, `${answered} answered in 30 s`);
  });
}

t.test('calls that were under way together are throttled once', async (t) => {
  const clock = new ManualClock();
  const pace = new CallPace(clock);
  for (let call = 0; call < 20; call += 1) pace.ended('answered');
  for (let call = 0; call < 230; call += 1) pace.ended('throttled');
  t.equal(pace.mode, 'throttled');
  t.equal(pace.rate, 16);
});

t.test('failures in a row slow it down to a probe every two seconds', async (t) => {
  const clock = new ManualClock();
  const pace = new CallPace(clock);
  pace.ended('failed');
  pace.ended('failed');
  t.equal(pace.mode, 'unlimited', 'two may be a blip');
  for (let call = 0; call < 10; call += 1) pace.ended('failed');
  t.equal(pace.mode, 'failing');
  t.equal(pace.rate, 0.5);
  t.ok(pace.earliest - clock.elapsed() <= 2_000);
});

t.test('an answer in trouble doubles the pace until the service is taken to be well', async (t) => {
  const clock = new ManualClock();
  const pace = new CallPace(clock);
  for (let call = 0; call < 10; call += 1) pace.ended('failed');
  const rates: number[] = [];
  while (pace.mode === 'failing') {
    pace.started();
    pace.ended('answered');
    rates.push(pace.rate);
  }
  t.same(rates, [1, 2, 4, 8, 16, 32, Number.POSITIVE_INFINITY]);
});

t.test('two minutes without a throttle lift the bound', async (t) => {
  const clock = new ManualClock();
  const pace = new CallPace(clock);
  pace.ended('throttled');
  for (let second = 0; second < 120; second += 1) {
    pace.started();
    pace.ended('answered');
    t.equal(pace.mode, 'throttled');
    await clock.advance(1_000);
  }
  await clock.advance(1);
  t.equal(pace.mode, 'unlimited');
  t.equal(pace.rate, Number.POSITIVE_INFINITY);
});

for (const [result, mode] of [
  ['throttled', 'throttled'],
  ['failed', 'failing'],
] as const) {
  t.test(`two minutes without a call: ${mode} no longer`, async (t) => {
    const clock = new ManualClock();
    const pace = new CallPace(clock);
    for (let call = 0; call < 3; call += 1) pace.ended(result);
    await clock.advance(120_000);
    t.equal(pace.mode, mode);
    await clock.advance(1);
    t.equal(pace.mode, 'unlimited');
    t.equal(pace.rate, Number.POSITIVE_INFINITY);
    pace.started();
    t.ok(pace.earliest <= clock.elapsed(), 'nothing waits');
    pace.ended('failed');
    pace.ended('failed');
    t.equal(pace.mode, 'unlimited', 'what was counted before is forgotten');
    pace.ended('failed');
    t.equal(pace.mode, 'failing');
  });
}
