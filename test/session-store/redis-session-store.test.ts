import { randomBytes } from 'node:crypto';
import t from 'tap';
import { wayTo } from '../support/cut-off.ts';
import { needsProgram } from '../support/needs.ts';
import { keyFile, secretFile, startRedis } from '../support/redis-server.ts';
import { until } from '../support/until.ts';
import { session, startStore, written } from './stores.ts';

// Stores of several nodes on a real Redis: what one of them ends stays ended, whatever the others
// have missed.

const skip = needsProgram('redis-server');
const ENTRIES = '*:e:*';

for (const by of ['refused', 'denied'] as const) {
  t.test(`what is ${by} does not come back by a node that was cut off`, { skip }, async (t) => {
    const redis = await startRedis(t);
    const key = keyFile(t);
    const way = await wayTo(t, redis.port);
    const one = await startStore(t, { url: redis.url, keyFile: key });
    const other = await startStore(t, {
      url: `redis://127.0.0.1:${way.port}`,
      keyFile: key,
      nodeName: 'node-2',
    });
    await Promise.all([one.closed(), other.closed()]);
    const kept = await one.fetch('cart');
    await written(one);
    t.equal((await other.fetch('cart')).fetchedAt, kept.fetchedAt, 'both hold it');
    await written(other);

    const client = redis.client();
    const [name = ''] = await client.keys(ENTRIES);
    const left = await client.pttl(name);
    const most = kept.role.expiresAt - Date.now() + 1_000;
    t.ok(left > 0 && left <= most, 'it lives no longer than its credentials');

    way.close();
    await until(() => other.store.state.circuit === 'open', 'the other is cut off');
    one.store.revoke(session('cart'), kept, by);
    one.held.clear();
    await written(one);
    t.strictSame(Object.keys(await client.hgetall(name)).toSorted(), ['r', 't'], 'a mark is left');
    t.ok((await client.pttl(name)) <= kept.role.expiresAt - Date.now() + 1_000, 'for a while');
    // It may have been waiting to be written.
    other.store.keep(session('cart'), kept, false);

    way.open();
    await other.closed();
    await written(other);
    await until(
      () => (by === 'refused' ? other.held.size === 0 : other.renewed.length > 0),
      'the other has found it out',
    );
    t.equal(other.held.size, by === 'refused' ? 0 : 1, 'what one node is denied may be renewed');
    t.equal(await client.hget(name, 'v'), null, 'it was not put back');
    const next = await other.fetch('cart');
    await written(other);
    t.ok(next.fetchedAt > kept.fetchedAt);
    t.equal(await client.hget(name, 't'), String(next.fetchedAt), 'what is newer takes its place');
    t.equal((await one.fetch('cart')).fetchedAt, next.fetchedAt);
  });
}

t.test('a flush before the first subscription is not missed', { skip }, async (t) => {
  const redis = await startRedis(t);
  const key = keyFile(t);
  const client = redis.client();
  await client.call('ACL', 'SETUSER', 'late', 'on', '>pw', '~{pib:*', '+@all');
  const one = await startStore(t, { url: redis.url, keyFile: key });
  const late = await startStore(t, {
    url: redis.url,
    keyFile: key,
    nodeName: 'node-2',
    username: 'late',
    passwordFile: secretFile(t, 'pw'),
  });
  await Promise.all([one.closed(), late.closed()]);
  await until(() => late.store.state.announcements?.reason === 'NOPERM', 'it may not subscribe');
  t.match(late.store.state.announcements, { heard: false });
  await one.fetch('cart');
  await written(one);
  await late.fetch('cart');
  t.ok(await one.store.flush({}), 'Redis and the others were told, as far as can be known');
  t.equal(late.held.size, 1, 'it was not heard');
  await client.call('ACL', 'SETUSER', 'late', '&{pib:*');
  await until(() => late.store.state.announcements?.heard === true, 'it hears');
  await until(() => late.held.size === 0, 'it has found out what it missed');
  t.equal(late.store.state.announcements?.deafFor, 0);
});

t.test('where nothing may be announced, a flush is still written once', { skip }, async (t) => {
  const redis = await startRedis(t);
  const client = redis.client();
  await client.call('ACL', 'SETUSER', 'mute', 'on', '>pw', '~{pib:*', '+@all');
  const mute = await startStore(t, {
    url: redis.url,
    keyFile: keyFile(t),
    username: 'mute',
    passwordFile: secretFile(t, 'pw'),
  });
  await mute.closed();
  t.notOk(await mute.store.flush({}), 'the operator is told that others were not');
  const [sequence = ''] = await client.keys('*:sequence');
  const version = await client.get(sequence);
  const { version: after } = await mute.fetch('cart');
  t.ok(after > Number(version));
  await until(async () => (await client.keys(ENTRIES)).length === 1, 'it is kept');
  t.equal(mute.store.state.circuit, 'closed', 'that is no reason to go without Redis');
  t.equal(mute.held.size, 1, 'the flush is tried again, and beats nothing new');
});

t.test(
  'what was fetched without Redis is not older than flushes before it',
  { skip },
  async (t) => {
    const redis = await startRedis(t);
    const key = keyFile(t);
    const client = redis.client();
    const one = await startStore(t, { url: redis.url, keyFile: key, sharing: 'node' });
    await one.closed();
    t.ok(await one.store.flush({}));
    const [flush = ''] = await client.keys('*:f:*');
    // A flush of an hour ago.
    const version = String(Number(await client.get(flush)) - 3_600_000_000);
    await client.set(flush, version);
    await one.store.stop(1_000);

    const way = await wayTo(t, redis.port);
    way.close();
    const next = await startStore(t, {
      url: `redis://127.0.0.1:${way.port}`,
      keyFile: key,
      sharing: 'node',
    });
    await next.fetch('cart');
    way.open();
    await next.closed();
    await written(next);
    t.equal(next.held.size, 1);
    t.equal((await client.keys(ENTRIES)).length, 1, 'it is kept');
  },
);

t.test('what nobody has verified is not kept, but flushed with the rest', { skip }, async (t) => {
  const redis = await startRedis(t);
  const key = keyFile(t);
  const client = redis.client();
  const one = await startStore(t, { url: redis.url, keyFile: key });
  const way = await wayTo(t, redis.port);
  const other = await startStore(t, {
    url: `redis://127.0.0.1:${way.port}`,
    keyFile: key,
    nodeName: 'node-2',
  });
  await Promise.all([one.closed(), other.closed()]);
  for (const node of [one, other]) await node.fetch('cart');
  await Promise.all([written(one), written(other)]);
  const compared = async () => {
    way.close();
    await until(() => other.store.state.circuit === 'open', 'it is cut off');
    const before = other.loads;
    way.open();
    await other.closed();
    await until(() => other.loads >= before + 2, 'all is compared');
    await written(other);
  };
  other.proven = false;
  await client.flushall();
  await compared();
  t.strictSame(await client.keys(ENTRIES), [], 'it is not kept');
  t.equal(other.held.size, 1, 'and still held');
  other.proven = true;
  await compared();
  t.equal((await client.keys(ENTRIES)).length, 1, 'what is verified by then is kept');
  await client.flushall();
  other.proven = false;
  way.close();
  t.ok(await one.store.flush({}));
  way.open();
  await until(() => other.held.size === 0, 'a flush that was missed ends it');
});

t.test('entries under the old key are sealed anew', { skip }, async (t) => {
  const redis = await startRedis(t);
  const [old, next] = [randomBytes(32), randomBytes(32)];
  const before = await startStore(t, { url: redis.url, keyFile: keyFile(t, old) });
  await before.closed();
  const kept = await before.fetch('cart');
  await written(before);
  await before.store.stop(1_000);
  const rolling = await startStore(t, { url: redis.url, keyFile: keyFile(t, next, old) });
  await until(() => rolling.held.size === 1, 'it is loaded');
  const client = redis.client();
  await until(async () => (await client.keys(ENTRIES)).length === 2, 'it is kept anew');
  await written(rolling);
  await rolling.store.stop(1_000);
  const rotated = await startStore(t, { url: redis.url, keyFile: keyFile(t, next) });
  await until(() => rotated.held.size === 1, 'the old key is not needed');
  t.strictSame([...rotated.held.values()][0]?.kept, kept);
});

t.test(
  'an entry that does not open is deleted, and not what has taken its place',
  { skip },
  async (t) => {
    const redis = await startRedis(t);
    const key = keyFile(t);
    const one = await startStore(t, { url: redis.url, keyFile: key });
    await one.closed();
    await one.fetch('cart');
    await written(one);
    const client = redis.client();
    const [name = ''] = await client.keys(ENTRIES);
    await client.hset(name, 'v', 'rubbish');
    const other = await startStore(t, { url: redis.url, keyFile: key, nodeName: 'node-2' });
    await other.closed();
    const kept = await other.fetch('cart');
    await written(other);
    t.strictSame(other.rejected, ['undecryptable']);
    t.equal(await client.hget(name, 't'), String(kept.fetchedAt), 'the new one is there');
  },
);

t.test('many brokers come back to a Redis that lets few in', { skip }, async (t) => {
  const NODES = 10;
  const redis = await startRedis(t);
  const key = keyFile(t);
  const way = await wayTo(t, redis.port);
  const url = `redis://127.0.0.1:${way.port}`;
  const nodes = await Promise.all(
    Array.from({ length: NODES }, (_, index) =>
      startStore(t, { url, keyFile: key, nodeName: `node-${index}` }),
    ),
  );
  await Promise.all(nodes.map((node) => node.closed()));
  const fetchAll = async (account: string) => {
    const all = await Promise.all(nodes.map((node) => node.fetch(account)));
    t.equal(all.length, NODES, 'no request fails');
    return new Set(all.map(({ fetchedAt }) => fetchedAt)).size;
  };
  t.equal(await fetchAll('before'), 1, 'one call for all');
  way.close();
  await redis.kill();
  await until(() => nodes.every(({ store }) => store.state.circuit === 'open'), 'all are cut off');
  await fetchAll('without');
  // Each wants two connections, and one more than all have one is there; the test has two.
  const again = await startRedis(t, { port: redis.port, args: ['--maxclients', '13'] });
  const client = again.client();
  await client.ping();
  way.open();
  const closed = () => nodes.filter(({ store }) => store.state.circuit === 'closed').length;
  await until(() => closed() > 0, 'some are let in');
  await fetchAll('crowded');
  t.ok(closed() < NODES, 'and not all');
  await client.config('SET', 'maxclients', '100');
  await until(() => closed() === NODES, 'every circuit closes');
  t.equal(await fetchAll('after'), 1, 'one call for all again');
});
