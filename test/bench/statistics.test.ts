import t from 'tap';
import { percentile, spread } from '../../bench/harness/statistics.ts';
import { distribution, shareByTime } from '../../bench/report/distribution.ts';
import { milliseconds, percent, span } from '../../bench/report/format.ts';

t.test('percentiles are of values that were there', async (t) => {
  const values = Array.from({ length: 1_000 }, (_, index) => index + 1);
  t.equal(percentile(values, 99), 990);
  t.equal(percentile(values, 99.9), 999);
  t.equal(percentile(values, 100), 1_000);
  t.equal(percentile(values, 50), 500.5, 'but for a median between two');
  t.equal(percentile([7], 99.9), 7);
  t.ok(Number.isNaN(percentile([], 50)));
});

t.test('a spread is a median with its reach', async (t) => {
  t.same(spread([3, 1, 2]), { median: 2, min: 1, max: 3 });
});

t.test('a distribution goes no further than its values tell', async (t) => {
  const furthest = distribution(Array.from({ length: 100 }, (_, index) => index)).at(-1);
  t.same(furthest, [99, 98]);
});

t.test('parts by time', async (t) => {
  const events = [
    { at: 100, good: true },
    { at: 900, good: false },
    { at: 1_500, good: true },
  ];
  t.same(shareByTime(events, 1_000), [
    [0.5, 0.5],
    [1.5, 1],
  ]);
  t.same(shareByTime(events, 2_000), [[1, 2 / 3]]);
});

t.test('figures are not made better by writing them down', async (t) => {
  t.equal(percent(1), '100 %');
  t.equal(percent(0.99999), '99.99 %');
  t.equal(percent(0), '0 %');
  t.equal(percent(0.333), '33.3 %');
  t.equal(milliseconds(0.5), '0.50 ms');
  t.equal(milliseconds(2_500), '2.5 s');
  t.equal(span(6_000_000), '1.7 h');
});
