import t from 'tap';
import { UnverifiedBudget } from '../../src/sessions/unverified-budget.ts';
import { ManualClock } from '../support/manual-clock.ts';

function setUp(node: number, perSource: number) {
  const clock = new ManualClock();
  const budget = new UnverifiedBudget(clock, node, perSource);
  /** How many of 100 calls of a source may be made now. */
  const calls = (source: string) => {
    let count = 0;
    while (count < 100 && budget.take(source) === 0) count += 1;
    return count;
  };
  return { clock, budget, calls };
}

t.test('each source has its own budget, all together the node has', async (t) => {
  const { clock, budget, calls } = setUp(5, 1);
  t.equal(calls('10.0.0.1'), 1);
  t.equal(calls('10.0.0.1'), 0);
  t.equal(budget.take('10.0.0.1'), 1_000, 'how long it has to wait');
  const sources = Array.from({ length: 20 }, (_, index) => `10.0.1.${index}`);
  t.equal(
    sources.reduce((sum, source) => sum + calls(source), 0),
    4,
    'many of them have no more than the node',
  );
  t.equal(budget.take('10.0.0.9'), 200, 'the next call of the node');
  await clock.advance(1_000);
  t.equal(calls('10.0.0.1'), 1);
});

t.test('who has to wait takes nothing from the others', async (t) => {
  const { clock, budget, calls } = setUp(2, 1);
  t.equal(calls('10.0.0.1'), 1);
  for (let tries = 0; tries < 1_000; tries += 1) budget.take('10.0.0.1');
  t.equal(calls('10.0.0.2'), 1);
  for (let tries = 0; tries < 1_000; tries += 1) budget.take('10.0.0.3');
  await clock.advance(500);
  t.equal(calls('10.0.0.3'), 1, 'its own budget was not used up by asking for the node');
});

t.test('rates below one a second let one call through at first', async (t) => {
  const { clock, budget, calls } = setUp(0.5, 0.25);
  t.equal(calls('10.0.0.1'), 1);
  t.equal(budget.take('10.0.0.1'), 4_000);
  t.equal(budget.take('10.0.0.2'), 2_000);
  await clock.advance(2_000);
  t.equal(calls('10.0.0.1'), 0);
  t.equal(calls('10.0.0.2'), 1);
});

t.test('a flood of strange sources is remembered within a bound', async (t) => {
  const { clock, calls } = setUp(1_000_000, 1);
  t.equal(calls('10.0.0.1'), 1);
  for (let index = 0; index < 4_095; index += 1) calls(`fd00::${index.toString(16)}`);
  t.equal(calls('10.0.0.1'), 0, 'so many are told apart');
  for (let index = 0; index < 4_096; index += 1) calls(`fd01::${index.toString(16)}`);
  t.equal(calls('10.0.0.1'), 1, 'of more, whoever has not asked for longest starts anew');
  t.equal(clock.pending, 0, 'without a timer for any of them');
});
