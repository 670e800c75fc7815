import t, { type Test } from 'tap';
import type { Claim } from '../../src/session-store/session-store.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';
import { needsProgram } from '../support/needs.ts';
import { keyFile, startRedis } from '../support/redis-server.ts';
import { openSlowDoor } from '../support/slow-door.ts';
import { until } from '../support/until.ts';
import { session, startStore } from './stores.ts';

// How long Redis holds a miss up, to the millisecond: time moves only when the test moves it.

const skip = needsProgram('redis-server');
const BUDGET = 50;
/** Failures in a row that open the circuit. */
const FAILURES = 3;

/** A store whose Redis was well, and from now on says nothing. */
async function silenced(t: Test, silence: 'hung' | 'slow') {
  const redis = await startRedis(t);
  const door = await openSlowDoor(t, redis.port);
  const clock = new ManualClock(Date.now());
  const url = `redis://127.0.0.1:${door.port}`;
  const { store } = await startStore(t, { url, keyFile: keyFile(t), budget: BUDGET, clock });
  await until(async () => {
    await clock.advance(0);
    return store.state.circuit === 'closed';
  }, 'Redis is there');
  if (silence === 'hung') redis.process.kill('SIGSTOP');
  else door.delay = 60_000;
  const claim = () => {
    const made: { claim?: Claim } = {};
    void store
      .claim(session('cart'), {
        newerThan: 0,
        patience: 30_000,
        signal: new AbortController().signal,
      })
      .then((claim) => {
        made.claim = claim;
      });
    return made;
  };
  return { store, clock, claim };
}

for (const silence of ['hung', 'slow'] as const) {
  t.test(`${silence}: the budget, and nothing once the circuit is open`, { skip }, async (t) => {
    const { store, clock, claim } = await silenced(t, silence);
    for (let failure = 1; failure <= FAILURES; failure += 1) {
      t.equal(store.state.circuit, 'closed');
      const made = claim();
      await clock.advance(BUDGET - 1);
      t.equal(made.claim, undefined, 'Redis is waited for');
      await clock.advance(1);
      t.match(made.claim, { kind: 'call' }, 'and not for longer than the budget');
    }
    t.equal(store.state.circuit, 'open');
    const made = claim();
    await settle();
    t.match(made.claim, { kind: 'call' }, 'it is not asked any more');
  });
}
