import t from 'tap';
import { CallPace } from '../../src/sessions/call-pace.ts';
import {
  type CallPriority,
  CallQueue,
  type Turn,
  TurnExpiredError,
} from '../../src/sessions/call-queue.ts';
import { ManualClock } from '../support/manual-clock.ts';

function queueOf(
  renewalQps = 1_000,
  ceiling?: number,
): { clock: ManualClock; pace: CallPace; queue: CallQueue } {
  const clock = new ManualClock();
  const pace = new CallPace(clock, ceiling);
  return { clock, pace, queue: new CallQueue(clock, pace, renewalQps) };
}

const answered = { result: 'answered', value: undefined } as const;

t.test('without a limit calls start at once', async (t) => {
  const { clock, queue } = queueOf();
  let started = 0;
  const call = () => {
    started += 1;
    return new Promise<never>(() => undefined);
  };
  for (let i = 0; i < 300; i += 1) {
    queue.run(queue.turn('foreground'), { deadline: 60_000 }, call).catch(() => undefined);
  }
  await clock.advance(0);
  t.equal(started, 256, 'up to the most that may be under way');
  t.equal(queue.waiting, 44);
});

t.test('waiting calls start by priority, then by rank', async (t) => {
  const { clock, pace, queue } = queueOf();
  for (let i = 0; i < 20; i += 1) pace.ended('answered');
  pace.ended('throttled');
  const order: string[] = [];
  const run = (priority: CallPriority, name: string, rank?: number) =>
    queue.run(queue.turn(priority, rank), { deadline: 60_000 }, async () => {
      order.push(name);
      return answered;
    });
  const all = [
    run('unverified', 'u1'),
    run('renewal', 'r-late', 200),
    run('renewal', 'r-soon', 100),
    run('foreground', 'f1'),
    run('foreground', 'f2'),
    run('urgent', 'near its end'),
  ];
  await clock.advance(5_000);
  await Promise.all(all);
  t.same(order, ['near its end', 'f1', 'f2', 'r-soon', 'r-late', 'u1']);
});

t.test('a priority is raised, and never lowered', async (t) => {
  const { clock, pace, queue } = queueOf();
  for (let i = 0; i < 20; i += 1) pace.ended('answered');
  pace.ended('throttled');
  const order: string[] = [];
  const turns = new Map<string, Turn>();
  const run = (priority: CallPriority, name: string) => {
    const turn = queue.turn(priority);
    turns.set(name, turn);
    return queue.run(turn, { deadline: 60_000 }, async () => {
      order.push(name);
      return answered;
    });
  };
  const all = [
    run('renewal', 'nobody waits for'),
    run('renewal', 'a pod waits for'),
    run('foreground', 'first'),
    run('foreground', 'second'),
  ];
  queue.promote(turns.get('a pod waits for') as Turn, 'urgent');
  queue.promote(turns.get('second') as Turn, 'renewal');
  t.strictSame(queue.waitingByPriority(), { urgent: 1, foreground: 2, renewal: 1, unverified: 0 });
  await clock.advance(5_000);
  await Promise.all(all);
  t.same(order, ['a pod waits for', 'first', 'second', 'nobody waits for']);
});

t.test('a place that is raised between two attempts counts in the next', async (t) => {
  const { clock, pace, queue } = queueOf();
  for (let i = 0; i < 20; i += 1) pace.ended('answered');
  pace.ended('throttled');
  const order: string[] = [];
  const turn = queue.turn('renewal');
  queue.promote(turn, 'urgent');
  const call = (name: string) => async () => {
    order.push(name);
    return answered;
  };
  const all = [
    queue.run(queue.turn('foreground'), { deadline: 60_000 }, call('foreground')),
    queue.run(turn, { deadline: 60_000 }, call('raised')),
  ];
  await clock.advance(5_000);
  await Promise.all(all);
  t.same(order, ['raised', 'foreground']);
});

t.test('renewals keep to their own budget, and hold up nobody', async (t) => {
  const { clock, queue } = queueOf(2);
  const renewed: number[] = [];
  let foreground = 0;
  const renewals = Array.from({ length: 8 }, () =>
    queue.run(queue.turn('renewal'), { deadline: 60_000 }, async () => {
      renewed.push(clock.elapsed());
      return answered;
    }),
  );
  await clock.advance(0);
  t.equal(renewed.length, 2, 'the burst is one second of the budget');
  await queue.run(queue.turn('foreground'), { deadline: 60_000 }, async () => {
    foreground += 1;
    return answered;
  });
  t.equal(foreground, 1);
  await clock.advance(3_000);
  await Promise.all(renewals);
  t.ok((renewed.at(-1) ?? 0) >= 2_900, 'the last waits for the budget');
});

t.test('a call that backs off lets the others go first', async (t) => {
  const { clock, queue } = queueOf();
  const order: string[] = [];
  const run = (name: string, notBefore: number) =>
    queue.run(queue.turn('foreground'), { notBefore, deadline: 60_000 }, async () => {
      order.push(name);
      return answered;
    });
  const backingOff = run('later', clock.elapsed() + 500);
  await run('now', 0);
  t.same(order, ['now']);
  await clock.advance(500);
  await backingOff;
  t.same(order, ['now', 'later']);
});

t.test('a call that backs off because of credentials starts when there are others', async (t) => {
  const { clock, pace, queue } = queueOf();
  const started: string[] = [];
  const run = (name: string, rejectedAt?: number) =>
    queue.run(
      queue.turn('foreground'),
      { notBefore: clock.elapsed() + 1_000, rejectedAt, deadline: 60_000 },
      async () => {
        started.push(name);
        return answered;
      },
    );
  await clock.advance(10);
  const all = [run('of credentials', clock.elapsed()), run('of the network')];
  await clock.advance(500);
  queue.credentialsReplaced();
  await clock.advance(0);
  t.strictSame(started, ['of credentials']);
  all.push(run('before they came', clock.elapsed() - 1));
  await clock.advance(0);
  t.strictSame(started, ['of credentials', 'before they came']);
  all.push(run('of these', clock.elapsed()));
  await clock.advance(499);
  t.equal(started.length, 2);
  await clock.advance(1_000);
  await Promise.all(all);

  for (let i = 0; i < 10; i += 1) pace.ended('failed');
  const waiting = queue.run(queue.turn('foreground'), { deadline: 60_000 }, async () => answered);
  await clock.advance(1_000);
  t.equal(queue.waiting, 1, 'nor at the pace of a service that fails');
  queue.credentialsReplaced();
  await waiting;
  t.equal(pace.mode, 'recovering');
  t.equal(clock.pending, 0);
});

t.test('a turn that does not come in time is given up', async (t) => {
  const { clock, pace, queue } = queueOf();
  for (let i = 0; i < 10; i += 1) pace.ended('failed');
  const first = queue.run(
    queue.turn('foreground'),
    { deadline: clock.elapsed() + 60_000 },
    async () => answered,
  );
  const late = t.rejects(
    queue.run(queue.turn('foreground'), { deadline: clock.elapsed() + 100 }, async () => answered),
    TurnExpiredError,
  );
  await clock.advance(2_000);
  await late;
  await first;
  t.equal(queue.waiting, 0);
});

t.test('a call that rejects frees its place and counts as failed', async (t) => {
  const { queue, pace } = queueOf();
  for (let i = 0; i < 3; i += 1) {
    await t.rejects(
      queue.run(queue.turn('foreground'), { deadline: 60_000 }, async () => {
        throw new Error('no worker');
      }),
      /no worker/,
    );
  }
  t.equal(queue.underWay, 0);
  t.equal(pace.mode, 'failing');
});

t.test('the expected wait grows with those who wait, at the pace of the calls', async (t) => {
  const { clock, pace, queue } = queueOf();
  t.equal(queue.expectedWait, 0);
  for (let i = 0; i < 20; i += 1) pace.ended('answered');
  pace.ended('throttled');
  const waiting = Array.from({ length: 32 }, () =>
    queue.run(queue.turn('foreground'), { deadline: 60_000 }, async () => answered),
  );
  t.ok(queue.expectedWait > 1_500 && queue.expectedWait < 2_500, `${queue.expectedWait}`);
  await clock.advance(10_000);
  await Promise.all(waiting);
});

t.test('so it does while EKS Auth recovers, if the operator has set a limit', async (t) => {
  for (const [ceiling, wait] of [
    [undefined, 0],
    [2, 5_000],
  ] as const) {
    const { clock, pace, queue } = queueOf(1_000, ceiling);
    for (let i = 0; i < 3; i += 1) pace.ended('failed');
    pace.ended('answered');
    const never = () => new Promise<never>(() => undefined);
    const starts = ceiling === undefined ? 4 : 1;
    for (let i = 0; i < starts + 10; i += 1) {
      queue.run(queue.turn('foreground'), { deadline: 60_000 }, never).catch(() => undefined);
    }
    await clock.advance(0);
    t.equal(queue.waiting, 10);
    t.equal(queue.expectedWait, wait);
  }
});

t.test('when it stops, calls that wait fail, and so do those to come', async (t) => {
  const { clock, pace, queue } = queueOf();
  pace.ended('throttled');
  let made = 0;
  const run = () =>
    queue.run(queue.turn('foreground'), { deadline: 60_000 }, async () => {
      made += 1;
      return answered;
    });
  const waiting = run();
  queue.stop();
  await t.rejects(waiting, new TurnExpiredError('the broker is stopping'));
  await t.rejects(run(), new TurnExpiredError('the broker is stopping'));
  t.equal(clock.pending, 0, 'no timer is left');
  await clock.advance(60_000);
  t.equal(made, 0);
});
