import t from 'tap';
import { VersionClock, versionAt } from '../../src/session-store/version-clock.ts';
import { ManualClock } from '../support/manual-clock.ts';

// A version stands between the flushes that were and those that will be.

const MICROSECONDS = 1_000;
const HOUR = 3_600_000;

t.test(
  'before anything is heard, it goes by the clock of the node, and a little behind',
  async (t) => {
    const clock = new ManualClock();
    const versions = new VersionClock(clock);
    const flushed = (clock.now() - HOUR) * MICROSECONDS;
    t.ok(versions.now() > flushed, 'later than a flush of an hour ago');
    const skewed = (clock.now() - 5_000) * MICROSECONDS;
    t.ok(versions.now() < skewed, 'earlier than one by a Redis whose clock is 5 s behind');
    t.equal(versions.now(), versionAt(clock.now()));
  },
);

t.test('what was heard counts, however far off the clock of the node is', async (t) => {
  const clock = new ManualClock();
  const versions = new VersionClock(clock);
  const redis = (clock.now() + HOUR) * MICROSECONDS;
  versions.hear(redis);
  t.equal(versions.now(), redis);
  clock.jump(-24 * HOUR);
  t.equal(versions.now(), redis, 'the wall clock does not matter any more');
});

t.test('it goes on from there, never faster than Redis', async (t) => {
  const clock = new ManualClock();
  const versions = new VersionClock(clock);
  const heard = clock.now() * MICROSECONDS;
  versions.hear(heard);
  await clock.advance(HOUR);
  t.ok(versions.now() < heard + HOUR * MICROSECONDS, 'a flush at this moment is later');
  t.ok(versions.now() > heard + (HOUR - 5_000) * MICROSECONDS, 'one 5 s ago is earlier');
});

t.test('an older version takes nothing back', async (t) => {
  const clock = new ManualClock();
  const versions = new VersionClock(clock);
  const heard = clock.now() * MICROSECONDS;
  versions.hear(heard);
  versions.hear(heard - 1);
  versions.hear(Number.NaN);
  t.equal(versions.now(), heard);
});
