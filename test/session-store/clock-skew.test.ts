import t, { type Test } from 'tap';
import { type Clock, systemClock } from '../../src/clock.ts';
import { needsProgram } from '../support/needs.ts';
import { keyFile, startRedis } from '../support/redis-server.ts';
import { until } from '../support/until.ts';
import { type StoreNode, session, startStore, written } from './stores.ts';

// Redis orders flushes and fetches by its own clock, and ends entries and leases by it. Here that
// clock is a day off. What counts is the difference, so it is the brokers' clock that is moved.

const skip = needsProgram('redis-server');
const HOUR = 3_600_000;
/** A little more than that. */
const DAY = 25 * HOUR;

/** A clock that differs from that of Redis, and can be moved further. */
class ShiftedClock implements Clock {
  #by: number;

  constructor(by: number) {
    this.#by = by;
  }

  now = () => Date.now() + this.#by;
  elapsed = systemClock.elapsed;
  setTimeout = systemClock.setTimeout;
  clearTimeout = systemClock.clearTimeout;

  move(by: number): void {
    this.#by += by;
  }
}

const heldBy = ({ held }: StoreNode) => held.get(session('cart').key)?.kept;

for (const [how, ahead] of [
  ['a day behind', DAY],
  ['a day ahead', -DAY],
] as const) {
  for (const sharing of ['node', 'cluster'] as const) {
    const start = async (t: Test) => {
      const redis = await startRedis(t);
      const clock = new ShiftedClock(ahead);
      const options = { url: redis.url, keyFile: keyFile(t), sharing, clock };
      const next = async () => {
        const node = await startStore(t, options);
        await until(() => node.loaded, 'everything is loaded');
        return node;
      };
      return { redis, clock, next };
    };

    t.test(`Redis is ${how}, ${sharing} sharing: nothing is lost`, { skip }, async (t) => {
      const { next } = await start(t);
      const first = await next();
      const { fetchedAt } = await first.fetch('cart');
      await written(first);
      const second = await next();
      t.equal(heldBy(second)?.fetchedAt, fetchedAt, 'found after a restart');
      t.strictSame([...first.rejected, ...second.rejected], []);
    });

    t.test(
      `Redis is ${how}, ${sharing} sharing: nothing outlives its expiry`,
      { skip },
      async (t) => {
        const { clock, next } = await start(t);
        const first = await next();
        const { role } = await first.fetch('cart');
        await written(first);
        clock.move(HOUR);
        const second = await next();
        t.equal(second.held.size, 0, 'not loaded');
        const again = await second.fetch('cart');
        t.ok(again.role.expiresAt > role.expiresAt, 'fetched anew');
      },
    );

    t.test(`Redis is ${how}, ${sharing} sharing: a flush counts`, { skip }, async (t) => {
      const { next } = await start(t);
      const first = await next();
      const { fetchedAt } = await first.fetch('cart');
      await written(first);
      t.ok(await first.store.flush({}), 'Redis is told');
      // What the broker does itself.
      first.held.clear();
      const second = await next();
      t.equal(second.held.size, 0, 'what was flushed does not come back');
      const after = await second.fetch('cart');
      t.not(after.fetchedAt, fetchedAt);
      await written(second);
      t.equal(heldBy(second)?.fetchedAt, after.fetchedAt, 'what was fetched since is kept');
      t.equal(heldBy(await next())?.fetchedAt, after.fetchedAt, 'and found');
    });
  }
}

t.test(
  'Redis is days ahead: a flush does not forbid what is fetched after it',
  { skip },
  async (t) => {
    const redis = await startRedis(t);
    const clock = new ShiftedClock(-3 * DAY);
    const node = await startStore(t, {
      url: redis.url,
      keyFile: keyFile(t),
      sharing: 'node',
      clock,
    });
    await until(() => node.loaded, 'everything is loaded');
    t.notOk(await node.store.flush({}), 'Redis is not told: its answer would count for days');
    const { fetchedAt } = await node.fetch('cart');
    const client = redis.client();
    await until(async () => (await client.keys('*:e:*')).length === 1, 'it is kept');
    t.equal(heldBy(node)?.fetchedAt, fetchedAt);
  },
);
