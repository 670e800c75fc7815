import fc from 'fast-check';
import t from 'tap';
import { TokenBucket } from '../src/token-bucket.ts';

/** How many of so many tries at one moment get a token. */
function taken(bucket: TokenBucket, now: number, tries = 100): number {
  let count = 0;
  for (let done = 0; done < tries; done += 1) if (bucket.take(now)) count += 1;
  return count;
}

t.test('the burst at once, then the rate', async (t) => {
  const bucket = new TokenBucket(10, 3);
  t.equal(taken(bucket, 0), 3);
  t.equal(taken(bucket, 99), 0);
  t.equal(taken(bucket, 100), 1);
  t.equal(taken(bucket, 250), 1, 'halves are kept');
  t.equal(taken(bucket, 300), 1);
  t.equal(taken(bucket, 3_600_000), 3, 'and no more than the burst');
});

t.test('a rate below one a second', async (t) => {
  const bucket = new TokenBucket(0.5, 1);
  t.equal(taken(bucket, 0), 1);
  t.equal(bucket.wait(0), 2_000);
  t.equal(bucket.wait(500), 1_500);
  t.equal(taken(bucket, 1_999), 0);
  t.equal(bucket.wait(2_000), 0);
  t.equal(taken(bucket, 2_000), 1);
});

t.test('after the wait that is told there is a token, and not before', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.double({ min: 0.1, max: 500, noNaN: true }),
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.nat({ max: 3_000 }), { maxLength: 30 }),
      async (rate, burst, pauses) => {
        const bucket = new TokenBucket(rate, burst);
        let now = 0;
        for (const pause of pauses) {
          now += pause;
          taken(bucket, now);
          const wait = bucket.wait(now);
          if (wait < 1) throw new Error('a wait of nothing without a token');
          // Whole milliseconds: it may be there up to one before.
          if (bucket.has(now + wait - 1.001)) throw new Error('a token before its time');
          now += wait;
          if (!bucket.has(now)) throw new Error(`no token after ${wait} ms`);
        }
      },
    ),
  );
  t.pass('no counter-example');
});

t.test('never more than the burst and what the rate adds', async (t) => {
  await fc.assert(
    fc.property(
      fc.double({ min: 0.1, max: 500, noNaN: true }),
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.record({ pause: fc.nat({ max: 2_000 }), tries: fc.nat({ max: 40 }) }), {
        maxLength: 40,
      }),
      (rate, burst, steps) => {
        const bucket = new TokenBucket(rate, burst);
        let [now, count] = [0, 0];
        for (const { pause, tries } of steps) {
          now += pause;
          count += taken(bucket, now, tries);
        }
        return count <= burst + (now * rate) / 1_000 + 1e-6;
      },
    ),
  );
  t.pass('no counter-example');
});

t.test('a clock that is set', async (t) => {
  const bucket = new TokenBucket(10, 3);
  const now = Date.parse('2026-03-01T12:00:00Z');
  t.equal(taken(bucket, now), 3);
  t.equal(taken(bucket, now - 3_600_000), 0, 'back: nothing is added');
  t.equal(taken(bucket, now - 3_600_000 + 100), 1, 'and it goes on from there');
  t.equal(taken(bucket, now + 3_600_000), 3, 'ahead: it is full');
});

t.test('what is charged is owed, up to a bound', async (t) => {
  const bucket = new TokenBucket(10, 10);
  bucket.charge(4, 10, 0);
  t.equal(taken(bucket, 0), 6);
  bucket.charge(4, 10, 0);
  t.equal(taken(bucket, 400), 0, 'made up for');
  t.equal(taken(bucket, 500), 1, 'before there is one to take');
  for (let more = 0; more < 50; more += 1) bucket.charge(4, 10, 500);
  t.equal(bucket.wait(500), 1_100, 'ten that are owed, and one');
  bucket.refund(4);
  t.equal(bucket.wait(500), 700);
  bucket.refund(100);
  t.equal(taken(bucket, 500), 10, 'no more than the burst is given back');
});

t.test('what is drained is not there for a while', async (t) => {
  const bucket = new TokenBucket(10, 10);
  bucket.drain(10);
  t.equal(bucket.wait(0), 1_100);
  bucket.drain(0);
  t.equal(bucket.wait(0), 1_100, 'which helps nobody who owes more');
});

t.test('it is full once all is made up for', async (t) => {
  const bucket = new TokenBucket(10, 2);
  t.equal(bucket.isFull(0), true);
  bucket.take(0);
  t.equal(bucket.isFull(99), false);
  t.equal(bucket.isFull(100), true);
});
