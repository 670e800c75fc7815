import t from 'tap';
import { createRandom } from '../../src/simulator/random.ts';
import { sampleLatency } from '../../src/simulator/settings.ts';
import { Throttle } from '../../src/simulator/throttle.ts';

t.test('log-normal latency has the median asked for, and repeats with its seed', async (t) => {
  const sample = (seed: number) => {
    const random = createRandom(seed);
    return Array.from({ length: 2_001 }, () => sampleLatency({ median: 80, sigma: 0.5 }, random));
  };
  const samples = sample(1);
  t.same(sample(1), samples);
  t.notSame(sample(2), samples);
  const sorted = samples.toSorted((left, right) => left - right);
  const at = (part: number) => sorted[Math.floor(part * 2_000)] as number;
  t.ok(at(0.5) > 75 && at(0.5) < 85, `median ${at(0.5)}`);
  // One deviation above the median is at the factor e^sigma.
  t.ok(at(0.841) > 120 && at(0.841) < 145, `84th percentile ${at(0.841)}`);
  t.equal(sampleLatency(30, createRandom(1)), 30);
});

t.test('a quota lets the burst through, then its rate', async (t) => {
  const throttle = new Throttle();
  const quota = { rate: 10, burst: 3 };
  const take = (now: number) => throttle.admits(quota, now);
  t.same([take(0), take(0), take(0), take(0)], [true, true, true, false]);
  t.equal(take(99), false);
  t.equal(take(100), true);
  t.equal(take(100), false);
  t.same([take(60_000), take(60_000), take(60_000), take(60_000)], [true, true, true, false]);
  const anew = { ...quota };
  const next = [1, 2, 3, 4].map(() => throttle.admits(anew, 60_000));
  t.same(next, [true, true, true, false], 'one that is set anew starts full');
  t.equal(throttle.admits(null, 60_000), true);
});
