import t from 'tap';
import { BackgroundTask } from '../../src/session-store/background-task.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';

function setUp({ every }: { every?: number } = {}) {
  const clock = new ManualClock();
  const set = { possible: true, random: 0.5 };
  const runs: { ok(): void; fail(): void }[] = [];
  const task = new BackgroundTask({
    clock,
    random: () => set.random,
    possible: () => set.possible,
    run: () => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      runs.push({ ok: resolve, fail: () => reject(new Error('ECONNRESET')) });
      return promise;
    },
    every: () => every,
  });
  return { clock, set, runs, task };
}

t.test(
  'at some moment in the time that is given, once however often it is asked for',
  async (t) => {
    const { clock, runs, task } = setUp();
    task.soon(2_000);
    task.soon(4_000);
    await clock.advance(999);
    t.equal(runs.length, 0);
    await clock.advance(1);
    t.equal(runs.length, 1);
    runs[0]?.ok();
    await clock.advance(60_000);
    t.equal(runs.length, 1);
  },
);

t.test('again with growing pauses until it succeeds', async (t) => {
  const { clock, set, runs, task } = setUp();
  set.random = 0;
  task.soon(0);
  const pauses: number[] = [];
  for (let run = 0; run < 7; run += 1) {
    await clock.advance(clock.next as number);
    runs.at(-1)?.fail();
    await settle();
    pauses.push(clock.next as number);
  }
  t.strictSame(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  await clock.advance(30_000);
  runs.at(-1)?.ok();
  await settle();
  t.equal(clock.pending, 0);
});

t.test('what is asked for while it runs is done after it', async (t) => {
  const { clock, runs, task } = setUp();
  task.soon(0);
  await clock.advance(0);
  task.soon(2_000);
  runs[0]?.ok();
  await clock.advance(1_000);
  t.equal(runs.length, 2);
});

t.test('while it cannot succeed it waits to be asked for', async (t) => {
  const { clock, set, runs, task } = setUp({ every: 10_000 });
  set.possible = false;
  task.soon(0);
  await clock.advance(60_000);
  t.equal(runs.length, 0);
  set.possible = true;
  task.soon(0);
  await clock.advance(0);
  t.equal(runs.length, 1);
});

t.test('from time to time without being asked for, until it is stopped', async (t) => {
  const { clock, runs, task } = setUp({ every: 10_000 });
  task.soon(0);
  await clock.advance(0);
  runs[0]?.ok();
  await clock.advance(15_000);
  t.equal(runs.length, 2);
  runs[1]?.ok();
  await settle();
  task.stop();
  await clock.advance(60_000);
  t.equal(runs.length, 2);
  t.equal(clock.pending, 0);
});
