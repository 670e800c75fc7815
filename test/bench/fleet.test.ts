import t from 'tap';
import { EventQueue } from '../../bench/fleet/event-queue.ts';
import { callsPerHour } from '../../bench/fleet/node-day.ts';
import { playRollout } from '../../bench/fleet/rollout.ts';
import { VirtualClock } from '../../bench/fleet/virtual-clock.ts';
import { createRandom } from '../../src/simulator/random.ts';

t.test('events come out in the order of their times', async (t) => {
  const queue = new EventQueue();
  const random = createRandom(7);
  const times = Array.from({ length: 5_000 }, () => Math.floor(random() * 1e6));
  for (const [index, time] of times.entries()) queue.add(time, index);
  const out: number[] = [];
  while (queue.size > 0) {
    const { time } = queue;
    out.push(times[queue.take()] === time ? time : -1);
  }
  t.same(
    out,
    times.toSorted((left, right) => left - right),
  );
});

t.test('days pass on a virtual clock', async (t) => {
  const clock = new VirtualClock(0);
  const heard: number[] = [];
  clock.setTimeout(() => {
    heard.push(clock.now());
    clock.setTimeout(() => heard.push(clock.now()), 1_000);
  }, 86_400_000);
  clock.clearTimeout(clock.setTimeout(() => heard.push(-1), 5));
  await clock.advanceTo(86_400_500);
  t.same(heard, [86_400_000]);
  await clock.advanceTo(86_401_000);
  t.same(heard, [86_400_000, 86_401_000]);
});

const rollout = {
  spreadMs: 1_000,
  quota: { rate: 100, burst: 100 },
  latency: 50,
  throttleMs: 10,
};

t.test('a rollout within the quota takes as long as its pods take to start', async (t) => {
  const result = playRollout({ ...rollout, nodes: 5, callsPerNode: 10, random: createRandom(1) });
  t.match(result, { calls: 50, throttled: 0, cutOff: false });
  t.ok(result.doneAfterMs < 1_050);
});

t.test('a rollout beyond the quota takes as long as the quota does', async (t) => {
  const result = playRollout({ ...rollout, nodes: 50, callsPerNode: 100, random: createRandom(1) });
  t.equal(result.calls - result.throttled, 5_000, 'every call is granted once');
  t.ok(result.throttled > 0);
  t.ok(result.doneAfterMs > 48_000, 'no faster than the account may');
  t.ok(result.doneAfterMs < 200_000, 'and not much slower');
  const again = playRollout({ ...rollout, nodes: 50, callsPerNode: 100, random: createRandom(1) });
  t.same(again, result, 'the same with the same seed');
});

t.test('a node calls for its service accounts, not for its pods', async (t) => {
  const day = {
    pods: 40,
    processes: 2,
    serviceAccounts: 4,
    latency: 80,
    settleHours: 6,
    countHours: 24,
  };
  const shared = await callsPerHour({ ...day, scope: 'service-account', random: createRandom(1) });
  const apart = await callsPerHour({ ...day, scope: 'pod', random: createRandom(1) });
  t.ok(shared > 0.5 && shared < 4, `${shared} calls an hour for 4 sessions`);
  t.ok(apart > shared * 5, `${apart} calls an hour for 40 sessions`);
});
