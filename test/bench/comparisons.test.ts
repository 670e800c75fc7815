import t from 'tap';
import { inTurns, sideBySide } from '../../bench/harness/variants.ts';
import { medianOf, overRounds } from '../../bench/report/rounds.ts';
import type { Bench } from '../../bench/scenario.ts';
import { withLateness } from '../../bench/scenarios/burst-lateness.ts';
import { checkCluster } from '../../bench/scenarios/cluster-promises.ts';
import { compare } from '../../bench/scenarios/hit-path-comparisons.ts';
import type { HitSeries } from '../../bench/scenarios/hit-path-figures.ts';
import {
  type HitTurn,
  isBoundByLoad,
  type ServerName,
} from '../../bench/scenarios/hit-path-turn.ts';

type Turns = Pick<Bench, 'peer' | 'config'>;
const config = { peer: { rounds: 3 } } as Bench['config'];
const alone: Turns = { config, peer: undefined };
const beside: Turns = { config, peer: { pid: undefined } as Bench['peer'] };

/** Notes who is measured when, and how many at once. */
function measuring() {
  const order: string[] = [];
  let now = 0;
  let most = 0;
  return {
    order,
    most: () => most,
    measure: async (name: string) => {
      order.push(name);
      now += 1;
      most = Math.max(most, now);
      await new Promise((resolve) => setImmediate(resolve));
      now -= 1;
      return order.length;
    },
  };
}

t.test('turns A B A B beside a peer, one at a time', async (t) => {
  const { order, measure, most } = measuring();
  const rounds = await sideBySide(beside, ['a', 'b'], measure);
  t.same(order, ['a', 'b', 'a', 'b', 'a', 'b']);
  t.equal(most(), 1);
  t.same(
    rounds.map(({ length }) => length),
    [3, 3],
  );
});

t.test('once, and at the same time where nothing is shared', async (t) => {
  const together = measuring();
  t.same((await sideBySide(alone, ['a', 'b'], together.measure)).flat().length, 2);
  t.equal(together.most(), 2);
  const apart = measuring();
  await inTurns(alone, ['a', 'b'], apart.measure);
  t.equal(apart.most(), 1);
  t.same(apart.order, ['a', 'b']);
});

t.test('a figure over rounds', async (t) => {
  t.equal(overRounds([2], String), '2');
  t.equal(overRounds([2, undefined, 9, 4], String), '4 (2–9)');
  t.equal(overRounds([undefined], String), '–');
  t.equal(
    medianOf([1, 9, 4], (value, factor = 1) => value * factor),
    4,
    'the reader is given the round, and nothing else',
  );
  t.equal(
    medianOf([1], () => undefined),
    undefined,
  );
});

t.test('whether a load was the bound', async (t) => {
  const full = { loadBusy: 1, targetBusy: 1 };
  t.ok(isBoundByLoad({ ...full, ownBusy: 0.6 }), 'the server could have done more');
  t.notOk(isBoundByLoad({ ...full, ownBusy: 0.99 }));
  t.notOk(isBoundByLoad({ ...full, loadBusy: 0.8, ownBusy: 0.6 }), 'and so could the load');
  t.ok(isBoundByLoad({ ...full, targetBusy: 0.5, ownBusy: undefined }), 'by its core');
  t.notOk(isBoundByLoad({ ...full, targetBusy: undefined, ownBusy: undefined }), 'nobody knows');
});

t.test('comparisons', async (t) => {
  const series = (server: ServerName, rates: readonly number[], bound = false): HitSeries => ({
    server,
    connection: 'close',
    load: 'wrk',
    turns: rates.map(
      (requestsPerSecond) =>
        ({
          requestsPerSecond,
          cpuMicroseconds: 1e6 / requestsPerSecond,
          boundByLoad: bound,
        }) as HitTurn,
    ),
  });
  const all = [series('broker', [90, 80]), series('bare', [100, 100]), series('redis', [45, 80])];
  t.match(compare(all, 'others'), [
    { server: 'broker', other: 'bare', rate: { min: 0.8, max: 0.9 }, cpu: { min: 0.8, max: 0.9 } },
  ]);
  t.match(compare(all, 'extras'), [
    { server: 'redis', other: 'broker', rate: { min: 0.5, max: 1 } },
  ]);
  const [bound] = compare([series('broker', [90]), series('bare', [100], true)], 'others');
  t.match(bound, { rate: undefined, cpu: { median: 0.9 } }, 'by CPU alone');
  const some = {
    ...series('bare', [100, 100, 100]),
    turns: [...series('bare', [100, 100]).turns, ...series('bare', [1], true).turns],
  };
  const [left] = compare([series('broker', [90, 90, 90]), some], 'others');
  t.match(left, { rate: { min: 0.9, max: 0.9 } }, 'a few bound turns are left out');
  const [silent] = compare([series('broker', [90]), series('peer', [0])], 'others');
  t.equal(silent?.rate, undefined, 'no ratio to one that answers nothing');
});

t.test('what the load itself was late is not the broker’s', async (t) => {
  const late = [
    { at: 100, took: 0.1 },
    { at: 150, took: 30 },
  ];
  const own = withLateness(
    [
      { at: 110, took: 20 },
      { at: 130, took: 20 },
      { at: 152, took: 40 },
    ],
    late,
  ).map(({ ownLess }) => ownLess);
  t.same(own, [20, 10, 10]);
});

t.test('what nodes that share sessions promise', async (t) => {
  const plan = { serviceAccounts: 10, renewAfterSeconds: 30, lifetimes: 3 };
  const good = {
    rollout: { calls: 10 },
    death: { calls: 11 },
    renewals: { seconds: 105, calls: 30, most: 3, fewest: 3, leastApartMs: 24_100 },
  };
  checkCluster(good, plan);
  const wrong = [
    [{ rollout: { calls: 11 } }, /^11 calls for 10 sessions/],
    [{ rollout: { calls: 9 } }, /^9 calls/],
    [{ death: { calls: 12 } }, /^12 calls for 10 sessions .* one broker killed/],
    [{ renewals: { ...good.renewals, leastApartMs: 5 } }, /fetched twice within 5 ms/],
    [{ renewals: { ...good.renewals, fewest: 2 } }, /renewed 2 times in 105 s/],
  ] as const;
  for (const [change, message] of wrong) {
    t.throws(() => checkCluster({ ...good, ...change }, plan), { name: 'BrokenRunError', message });
  }
});
