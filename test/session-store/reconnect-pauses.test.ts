import t from 'tap';
import { reconnectPauses } from '../../src/session-store/redis-client.ts';
import { ManualClock } from '../support/manual-clock.ts';

t.test('connections that do not last are made ever more rarely', async (t) => {
  const clock = new ManualClock();
  const pause = reconnectPauses(clock, () => 0.5);
  const pauses: number[] = [];
  for (let attempt = 0; attempt < 8; attempt += 1) {
    pauses.push(pause());
    // It is made, and ended at once.
    await clock.advance(pauses.at(-1) as number);
  }
  t.strictSame(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
  await clock.advance(10_001);
  t.equal(pause(), 100, 'one that has lasted is made anew at once');
});

t.test('brokers do not come back in step', async (t) => {
  const clock = new ManualClock();
  t.equal(reconnectPauses(clock, () => 0)(), 50);
  t.equal(reconnectPauses(clock, () => 1)(), 150);
});
