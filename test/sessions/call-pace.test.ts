import t from 'tap';
import { CallPace, type PacedCall } from '../../src/sessions/call-pace.ts';
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

/** A pace that EKS Auth's failures have slowed down. */
function failing() {
  const clock = new ManualClock();
  const pace = new CallPace(clock);
  for (let call = 0; call < 10; call += 1) pace.ended('failed');
  return { clock, pace };
}

/** Starts as many calls as may start now, of a thousand that wait. */
function startAll(pace: CallPace, clock: ManualClock): PacedCall[] {
  const calls: PacedCall[] = [];
  while (pace.earliest <= clock.elapsed() && calls.length < 1_000) calls.push(pace.started());
  return calls;
}

t.test('when it recovers, calls in progress double with each round of answers', async (t) => {
  const { clock, pace } = failing();
  await clock.advance(2_000);
  const [probe, ...others] = startAll(pace, clock);
  t.strictSame(others, []);
  pace.ended('answered', probe);
  t.equal(pace.mode, 'recovering');
  const rounds: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    const calls = startAll(pace, clock);
    rounds.push(calls.length);
    await clock.advance(100);
    for (const call of calls) pace.ended('answered', call);
  }
  t.strictSame(rounds, [4, 8, 16, 32, 64, 64]);
  await clock.advance(10_000);
  t.equal(pace.mode, 'unlimited');
  t.equal(startAll(pace, clock).length, 1_000);
});

t.test('a call that ends lets another start, and none holds up the others for ever', async (t) => {
  const { clock, pace } = failing();
  pace.ended('answered');
  const [first] = startAll(pace, clock);
  t.equal(pace.earliest - clock.elapsed(), 10_000);
  pace.ended(undefined, first);
  t.equal(startAll(pace, clock).length, 1, 'nothing was learned, and one place is free');
  await clock.advance(10_000);
  t.ok(pace.earliest <= clock.elapsed(), 'calls that are never answered block nobody for ever');
});

t.test('what fails while it recovers', async (t) => {
  await t.test('makes it slower, and lasts', async (t) => {
    const { clock, pace } = failing();
    pace.ended('answered');
    for (let round = 0; round < 2; round += 1) {
      for (const call of startAll(pace, clock)) pace.ended('answered', call);
    }
    await clock.advance(9_000);
    const [one, ...others] = startAll(pace, clock);
    t.equal(others.length, 15);
    pace.ended('failed', one);
    for (const call of others) pace.ended(undefined, call);
    t.equal(startAll(pace, clock).length, 8, 'half as many');
    await clock.advance(9_000);
    t.equal(pace.mode, 'recovering');
  });

  await t.test('three times in a row is an outage again', async (t) => {
    const { clock, pace } = failing();
    pace.ended('answered');
    for (const call of startAll(pace, clock)) pace.ended('failed', call);
    t.equal(pace.mode, 'failing');
  });

  await t.test('was sent before, and says nothing', async (t) => {
    const clock = new ManualClock();
    const pace = new CallPace(clock);
    const lost = startAll(pace, clock);
    for (let call = 0; call < 10; call += 1) pace.ended('failed');
    pace.ended('answered');
    for (const call of lost) pace.ended('failed', call);
    t.equal(pace.mode, 'recovering');
    t.equal(startAll(pace, clock).length, 4, 'nor does it count as in progress');
  });

  await t.test('or is throttled: its quota is what counts then', async (t) => {
    const { clock, pace } = failing();
    pace.ended('answered');
    const [one] = startAll(pace, clock);
    pace.ended('throttled', one);
    t.equal(pace.mode, 'throttled');
  });
});

t.test('what failed may be tried again at once', async (t) => {
  const clock = new ManualClock();
  const pace = new CallPace(clock);
  for (let call = 0; call < 10; call += 1) pace.ended('failed');
  t.equal(startAll(pace, clock).length, 0);
  pace.allowProbe();
  const [probe] = startAll(pace, clock);
  t.equal(startAll(pace, clock).length, 0, 'by one call');
  t.equal(pace.earliest - clock.elapsed(), 2_000);
  pace.ended('failed', probe);
  t.equal(startAll(pace, clock).length, 0);
  const throttled = new CallPace(clock);
  throttled.ended('throttled');
  throttled.allowProbe();
  t.equal(startAll(throttled, clock).length, 0, 'a quota is none the larger for it');
});

t.test("the operator's limit holds while it recovers", async (t) => {
  const clock = new ManualClock();
  const pace = new CallPace(clock, 2);
  for (let call = 0; call < 10; call += 1) pace.ended('failed');
  pace.ended('answered');
  t.equal(pace.rate, 2);
  t.equal(startAll(pace, clock).length, 1);
  t.equal(pace.earliest - clock.elapsed(), 500);
  await clock.advance(10_000);
  for (let call = 0; call < 10; call += 1) pace.ended('failed');
  await clock.advance(2_000);
  const [probe] = startAll(pace, clock);
  pace.allowProbe();
  t.equal(pace.earliest - clock.elapsed(), 500, 'nor is a probe more than that');
  await clock.advance(50);
  pace.ended('answered', probe);
  t.equal(pace.mode, 'recovering');
  t.equal(pace.earliest - clock.elapsed(), 450, 'after the call that found out that it does');
});

t.test('a rate that was learned while others used up the quota', async (t) => {
  const clock = new ManualClock();
  const pace = new CallPace(clock);
  pace.ended('throttled');
  t.equal(pace.rate, 0.5);
  await clock.advance(8_000);
  t.ok(pace.rate < 0.7, 'grows slowly');
  await callFor(pace, clock, 12, 100);
  t.ok(pace.rate > 50, `and is left behind within seconds: ${pace.rate}`);
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
