import t from 'tap';
import { Heartbeats, type TaskState } from '../../src/workers/heartbeats.ts';

const THREAD = { threadId: 3 };
const SILENCE = 600;

/** Heartbeats of one thread, which the test gives, under a kernel that says what the test says. */
function watched(kernel: 'linux' | 'another' = 'linux') {
  const state: { -readonly [Member in keyof TaskState]: TaskState[Member] } = {
    runnable: true,
    used: 5_000,
  };
  const heartbeats = new Heartbeats(() => (kernel === 'linux' ? state : undefined));
  const counts = new Int32Array(heartbeats.buffer);
  const hangingAt = (now: number, excused = false) =>
    heartbeats.silentFor([THREAD], SILENCE, now, excused);
  return {
    state,
    sign: () => Atomics.add(counts, THREAD.threadId, 1),
    hangingAt,
    hangsAt: (now: number, excused?: boolean) => hangingAt(now, excused).length === 1,
  };
}

t.test('a thread that computes and gives no sign hangs', async (t) => {
  const { state, sign, hangsAt, hangingAt } = watched();
  sign();
  t.notOk(hangsAt(0));
  state.used += 600;
  t.notOk(hangsAt(600));
  state.used += 100;
  t.strictSame(hangingAt(700), [{ thread: THREAD, silentFor: 700 }]);
  sign();
  t.notOk(hangsAt(900), 'until it gives one');
  state.used += 600;
  t.notOk(hangsAt(1_600, true), 'it is excused where whoever looks was held up himself');
  t.notOk(hangsAt(2_100));
});

t.test('one that gets no CPU does not', async (t) => {
  const { state, sign, hangsAt } = watched();
  sign();
  t.notOk(hangsAt(0));
  state.used += 20;
  t.notOk(hangsAt(60_000), 'however long it waits');
  state.used += 300;
  t.ok(hangsAt(60_200), 'unless it has had enough of it in the end');
});

t.test('one that waits for something else does', async (t) => {
  const { state, sign, hangsAt } = watched();
  sign();
  t.notOk(hangsAt(0));
  state.runnable = false;
  t.notOk(hangsAt(600));
  t.ok(hangsAt(601));
});

t.test('one that still loads does not', async (t) => {
  const { state, hangsAt } = watched();
  t.notOk(hangsAt(0));
  state.used += 10_000;
  t.notOk(hangsAt(10_000));
});

t.test('where the kernel says nothing, time alone counts', async (t) => {
  const { sign, hangsAt } = watched('another');
  sign();
  t.notOk(hangsAt(0));
  t.notOk(hangsAt(600));
  t.ok(hangsAt(601));
});

t.test('one that loads is not judged by another that had its slot before', async (t) => {
  const heartbeats = new Heartbeats(() => undefined);
  const counts = new Int32Array(heartbeats.buffer);
  Atomics.add(counts, THREAD.threadId, 7);
  t.strictSame(heartbeats.silentFor([THREAD], SILENCE, 0, false), []);
  t.strictSame(heartbeats.silentFor([], SILENCE, 200, false), [], 'it has ended');
  const next = { threadId: THREAD.threadId + 1_024 };
  t.strictSame(heartbeats.silentFor([next], SILENCE, 400, false), []);
  t.strictSame(heartbeats.silentFor([next], SILENCE, 60_000, false), []);
});
