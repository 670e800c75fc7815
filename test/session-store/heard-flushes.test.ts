import { randomBytes } from 'node:crypto';
import t from 'tap';
import { HeardFlushes } from '../../src/session-store/heard-flushes.ts';
import { Names } from '../../src/session-store/names.ts';
import { session } from './stores.ts';

function setUp() {
  const rules = { clusterName: 'c', nodeName: 'n', sharing: 'cluster' } as const;
  return new HeardFlushes(new Names(randomBytes(32), rules));
}

t.test('a flush beats what began before it, of the sessions that it is about', async (t) => {
  const flushes = setUp();
  t.notOk(flushes.beat(session('cart'), 1));
  flushes.hear({ namespace: 'shop', serviceAccount: 'cart' }, 10);
  t.ok(flushes.beat(session('cart'), 9));
  t.notOk(flushes.beat(session('cart'), 10));
  t.notOk(flushes.beat(session('till'), 9));
  flushes.hear({ namespace: 'bank' }, 20);
  t.notOk(flushes.beat(session('till'), 9));
  flushes.hear({}, 30);
  t.ok(flushes.beat(session('till'), 29));
});

t.test('one that is repeated is no news, and takes nothing back', async (t) => {
  const flushes = setUp();
  t.ok(flushes.hear({}, 10));
  t.notOk(flushes.hear({}, 10));
  t.notOk(flushes.hear({}, 5));
  t.ok(flushes.beat(session('cart'), 9));
  t.ok(flushes.hear({}, 11), 'a later one is');
});
