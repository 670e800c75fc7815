import type { Redis } from 'ioredis';
import t from 'tap';
import { needsProgram } from '../support/needs.ts';
import { keyFile, startRedis } from '../support/redis-server.ts';
import { until } from '../support/until.ts';
import { session, startStore, written } from './stores.ts';

// Somebody else writes to a real Redis, under the names of ours: whatever it is, sessions are
// fetched and kept, the circuit stays closed, and what does not belong there is gone.

const skip = needsProgram('redis-server');
const HUGE = 'A'.repeat(2 * 1024 * 1024);
const FUTURE = '9000000000000000';

/** What is put in the place of anything. */
const VALUES: Readonly<Record<string, (client: Redis, key: string) => Promise<unknown>>> = {
  text: (client, key) => client.set(key, 'rubbish'),
  nothing: (client, key) => client.set(key, ''),
  NaN: (client, key) => client.set(key, 'nan'),
  infinity: (client, key) => client.set(key, 'inf'),
  'a negative number': (client, key) => client.set(key, '-1'),
  'the days to come': (client, key) => client.set(key, FUTURE),
  megabytes: (client, key) => client.set(key, HUGE),
  'a list': (client, key) => client.lpush(key, 'rubbish', 'more'),
  'a sorted set of megabytes': (client, key) => client.zadd(key, 9e15, HUGE),
  'a hash of other fields': (client, key) => client.hset(key, { a: 'b' }),
  'a hash of rubbish': (client, key) => client.hset(key, { g: 'x', t: 'y', e: 'z', v: 'rubbish' }),
  'a hash of nothing': (client, key) => client.hset(key, { g: '', t: '', e: '', v: '' }),
  'a hash of megabytes': (client, key) =>
    client.hset(key, { g: HUGE, t: HUGE, e: HUGE, v: HUGE, r: HUGE }),
  'a mark of the days to come': (client, key) => client.hset(key, { t: FUTURE, r: 'denied' }),
  'a mark of another kind': (client, key) => client.hset(key, { t: '5', r: 'rubbish' }),
};

for (const [what, put] of Object.entries(VALUES)) {
  t.test(what, { skip }, async (t) => {
    const redis = await startRedis(t);
    const client = redis.client();
    const key = keyFile(t);
    const first = await startStore(t, { url: redis.url, keyFile: key });
    await first.closed();
    await first.fetch('cart');
    t.ok(await first.store.flush({}));
    first.held.clear();
    await first.fetch('cart');
    await written(first);
    const [entry = ''] = await client.keys('*:e:*');
    const [index = ''] = await client.keys('*:n:*');
    const [flush = ''] = await client.keys('*:f:*');
    const [sequence = ''] = await client.keys('*:sequence');
    const lease = entry.replace(':e:', ':l:');
    const everything = [entry, index, flush, sequence, lease];
    t.ok(everything.every((name) => name !== ''));
    const spoil = async () => {
      for (const name of everything) {
        await client.del(name);
        await put(client, name);
      }
    };

    await spoil();
    const next = await startStore(t, { url: redis.url, keyFile: key });
    await next.closed();
    const kept = await next.fetch('cart');
    await written(next);
    t.equal(await client.hget(entry, 't'), String(kept.fetchedAt), 'it is fetched, and kept');
    t.ok((await client.hget(entry, 'v'))?.length);
    t.ok(next.held.has('service-account:shop/cart/uid'), 'and held');

    // The same while they run: keeping, flushing and revoking meet it.
    await spoil();
    next.store.keep(session('cart'), kept, false);
    await written(next);
    await spoil();
    t.ok(await next.store.flush({}), 'a flush is told');
    await spoil();
    next.store.revoke(session('cart'), kept, 'refused');
    await written(next);
    next.held.clear();
    const after = await next.fetch('cart');
    await written(next);
    t.ok(after.fetchedAt > kept.fetchedAt);
    t.equal(await client.hget(entry, 't'), String(after.fetchedAt), 'what is fetched then is kept');
    t.equal(await client.type(index), 'zset');
    for (const { store } of [first, next]) {
      t.equal(store.state.circuit, 'closed', 'Redis is in use all the while');
    }

    const last = await startStore(t, { url: redis.url, keyFile: key });
    await until(() => last.held.size === 1, 'a broker that starts finds it');
  });
}
