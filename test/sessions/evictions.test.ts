import t from 'tap';
import { HOUR, SessionsHarness } from '../support/sessions-harness.ts';

t.test('the least recently used session makes room', async (t) => {
  const h = new SessionsHarness({ maxCacheSize: 2 });
  h.auto = (call) => call.grant();
  const [a, b, c] = ['a', 'b', 'c'].map((name) => h.pod(name, `${name}-1`));
  if (a === undefined || b === undefined || c === undefined) return;
  await h.fetch(a);
  await h.fetch(b);
  h.open(a);
  await h.fetch(c);
  t.equal(h.evictions, 1);
  t.equal(h.sessions.size, 2);
  t.equal(h.open(a).kind, 'credentials');
  t.equal(h.open(b).kind, 'fetch');
});

/** A session that is being renewed when another one takes its place in the cache. */
async function evictedInRenewal() {
  const h = new SessionsHarness({ maxCacheSize: 1 });
  const [pod, other] = [h.pod('cart', 'cart-1'), h.pod('search', 'search-1')];
  h.auto = (call) => call.grant();
  await h.fetch(pod);
  h.open(pod);
  h.auto = undefined;
  await h.clock.advance(3 * HOUR);
  const late = h.fetch(other);
  await h.clock.advance(0);
  const [, renewal, fetch] = h.calls;
  fetch?.grant();
  await late;
  return { h, pod, other, renewal };
}

t.test('whoever asks for a session that was evicted joins its renewal', async (t) => {
  const { h, pod, renewal } = await evictedInRenewal();
  t.equal(h.evictions, 1);
  t.equal(h.sessions.servable('service-account:shop/cart', h.clock.now()), undefined);
  const asked = h.fetch(pod);
  await h.clock.advance(0);
  t.equal(h.calls.length, 3, 'no second fetch beside the renewal');
  renewal?.grant({ accessKeyId: 'ASIARENEWED' });
  t.match(await asked, { ok: true, credentials: { accessKeyId: 'ASIARENEWED' } });
  t.equal(h.open(pod).kind, 'credentials');
  t.equal(h.sessions.size, 1);
});

t.test('the renewal of a session that was evicted evicts nothing in turn', async (t) => {
  const { h, pod, other, renewal } = await evictedInRenewal();
  renewal?.grant();
  await h.clock.advance(0);
  t.equal(h.evictions, 1);
  t.equal(h.open(other).kind, 'credentials');
  t.equal(h.open(pod).kind, 'fetch');
  t.equal([...h.sessions.all()].length, 2, 'the one that holds credentials, and the new fetch');
});

t.test('a flush beats the renewal of a session that was evicted', async (t) => {
  const { h, pod, renewal } = await evictedInRenewal();
  const before = h.fetch(pod);
  h.sessions.flush(({ serviceAccount }) => serviceAccount === 'cart');
  renewal?.grant();
  t.match(await before, { ok: false, failure: { kind: 'superseded' } });
  t.equal(h.open(pod).kind, 'fetch');
});

t.test('a renewal that fails after the eviction leaves nothing behind', async (t) => {
  const { h, renewal } = await evictedInRenewal();
  renewal?.fail({ kind: 'service' });
  await h.clock.advance(0);
  t.equal([...h.sessions.all()].length, 1);
  await h.clock.advance(7 * HOUR);
  t.equal([...h.sessions.all()].length, 0);
});
