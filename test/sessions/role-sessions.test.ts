import t from 'tap';
import { HOUR, SessionsHarness } from '../support/sessions-harness.ts';

const MINUTE = 60_000;

t.test('concurrent requests share one fetch', async (t) => {
  const h = new SessionsHarness();
  const pods = Array.from({ length: 50 }, (_, i) => h.pod('cart', `cart-${i}`));
  const opened = pods.map((pod) => h.open(pod));
  await h.clock.advance(0);
  t.equal(h.calls.length, 1);
  t.same(
    opened.map((one) => one.kind === 'fetch' && one.joined),
    pods.map((_, i) => i > 0),
  );
  h.calls[0]?.grant();
  const bodies = new Set<string>();
  for (const one of opened) {
    const outcome = one.kind === 'fetch' ? await one.fetch.settled : undefined;
    if (outcome?.ok) bodies.add(outcome.credentials.body);
  }
  t.equal(bodies.size, 1);
  t.equal(h.open(h.pod('cart', 'cart-new')).kind, 'credentials');
  t.equal(h.calls.length, 1);
});

t.test('the body is what SDKs read', async (t) => {
  const h = new SessionsHarness();
  h.auto = (call) => call.grant();
  const outcome = await h.fetch(h.pod('cart', 'cart-1'));
  t.ok(outcome.ok);
  const body = JSON.parse(outcome.ok ? outcome.credentials.body : '');
  t.same(Object.keys(body), ['AccessKeyId', 'SecretAccessKey', 'Token', 'AccountId', 'Expiration']);
  t.equal(body.AccountId, '111122223333');
  t.match(body.Expiration, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  t.equal(Date.parse(body.Expiration), Math.floor((h.clock.now() + 6 * HOUR) / 1_000) * 1_000);
});

for (const [what, change] of Object.entries({
  'another service account': { subject: { namespace: 'shop', serviceAccount: 'checkout' } },
  'another namespace': { subject: { namespace: 'bank', serviceAccount: 'cart' } },
  'another audience': { audience: 'sts.amazonaws.com' },
  'credentials that have expired': { expiresAt: 1 },
})) {
  t.test(`an answer for ${what} is not served, and asked for again`, async (t) => {
    const h = new SessionsHarness();
    const pending = h.fetch(h.pod('cart', 'cart-1'));
    await h.clock.advance(0);
    h.calls[0]?.grant(change);
    await h.clock.advance(200);
    t.equal(h.sessions.size, 0);
    t.equal(h.calls.length, 2);
    h.calls[1]?.grant();
    t.ok((await pending).ok);
  });
}

t.test('a fetch retries transient errors until its time-out', async (t) => {
  const h = new SessionsHarness();
  h.auto = (call) => call.fail({ kind: 'service', code: 'InternalServerException', status: 500 });
  const pending = h.fetch(h.pod('cart', 'cart-1'));
  await h.clock.advance(31_000);
  const outcome = await pending;
  t.notOk(outcome.ok);
  t.equal(!outcome.ok && outcome.failure.code, 'InternalServerException');
  t.ok(h.calls.length > 5 && h.calls.length < 40, `${h.calls.length} attempts`);
  t.same([...h.sessions.all()], [], 'nothing is kept of it');
});

t.test("if a token is rejected, the session's next one is tried", async (t) => {
  const h = new SessionsHarness();
  const spent = h.pod('cart', 'cart-1');
  const good = h.pod('cart', 'cart-2');
  h.auto = (call) =>
    call.token === spent.token
      ? call.fail({ kind: 'token', code: 'ExpiredTokenException', status: 400 })
      : call.grant();
  const opened = h.open(spent);
  h.open(good);
  t.ok(opened.kind === 'fetch');
  const outcome = await (opened.kind === 'fetch' ? opened.fetch.settled : undefined);
  t.ok(outcome?.ok);
  t.same(
    h.calls.map((call) => call.token),
    [spent.token, good.token],
  );
});

t.test('without another token a rejected one ends the fetch', async (t) => {
  const h = new SessionsHarness();
  h.auto = (call) => call.fail({ kind: 'token', code: 'InvalidTokenException', status: 400 });
  const outcome = await h.fetch(h.pod('cart', 'cart-1'));
  t.match(outcome, { ok: false, failure: { code: 'InvalidTokenException' } });
  t.equal(h.calls.length, 1);
});

t.test('a refusal counts for its token: 1 s, doubling to 4 s', async (t) => {
  const h = new SessionsHarness();
  const pod = h.pod('cart', 'cart-1');
  h.auto = (call) => call.fail({ kind: 'refused', code: 'ResourceNotFoundException', status: 404 });
  const times: number[] = [];
  for (let ms = 0; ms < 20_000; ms += 100) {
    if (h.open(pod).kind === 'fetch') times.push(ms);
    await h.clock.advance(100);
  }
  t.same(times, [0, 1_000, 3_000, 7_000, 11_000, 15_000, 19_000]);
});

t.test(
  "a refusal does not apply to another pod's token, which is tried a second later",
  async (t) => {
    const h = new SessionsHarness();
    const refused = h.pod('cart', 'cart-1');
    const neighbour = h.pod('cart', 'cart-2');
    h.auto = (call) =>
      call.token === refused.token
        ? call.fail({ kind: 'refused', code: 'AccessDeniedException', status: 400 })
        : call.grant();
    await h.fetch(refused);
    const opened = h.open(neighbour);
    t.match(opened, { kind: 'later' });
    await h.clock.advance(opened.kind === 'later' ? opened.wait : 0);
    t.ok((await h.fetch(neighbour)).ok);
    t.equal(h.open(refused).kind, 'credentials', 'the session is there for all of its pods');
  },
);

t.test('a session is let go once its refusals are forgotten', async (t) => {
  const h = new SessionsHarness();
  h.auto = (call) => call.fail({ kind: 'refused', code: 'AccessDeniedException', status: 400 });
  await h.fetch(h.pod('cart', 'cart-1'));
  t.equal([...h.sessions.all()].length, 1);
  await h.clock.advance(30_000);
  t.equal([...h.sessions.all()].length, 0);
});

t.test('a session that is not in use is not renewed, and ends when it expires', async (t) => {
  const h = new SessionsHarness();
  h.auto = (call) => call.grant();
  await h.fetch(h.pod('cart', 'cart-1'));
  await h.clock.advance(5 * HOUR);
  t.equal(h.calls.length, 1);
  t.equal(h.sessions.size, 1);
  await h.clock.advance(HOUR - 15_000);
  t.equal(h.sessions.size, 0);
});

t.test('what somebody asked for is renewed at the age that was set', async (t) => {
  const h = new SessionsHarness();
  h.auto = (call) => call.grant();
  const pod = h.pod('cart', 'cart-1');
  await h.fetch(pod);
  h.open(pod);
  await h.clock.advance(3 * HOUR - 1);
  t.equal(h.calls.length, 1);
  await h.clock.advance(1);
  t.equal(h.calls.length, 2);
  t.same(h.renewals, [true]);
  await h.clock.advance(3 * HOUR);
  t.equal(h.calls.length, 2, 'once, since nobody has asked again');
});

t.test('who asks after the due time is served, and has it renewed', async (t) => {
  const h = new SessionsHarness();
  h.auto = (call) => call.grant();
  const pod = h.pod('cart', 'cart-1');
  await h.fetch(pod);
  await h.clock.advance(4 * HOUR);
  const session = h.sessions.servable('service-account:shop/cart', h.clock.now());
  t.ok(session);
  if (session !== undefined) h.sessions.renewIfDue(session, pod, h.clock.now());
  await h.clock.advance(0);
  t.equal(h.calls.length, 2);
});

t.test('a session of an hour is renewed with half an hour left', async (t) => {
  const h = new SessionsHarness();
  h.lifetime = HOUR;
  h.auto = (call) => call.grant();
  const pod = h.pod('cart', 'cart-1');
  await h.fetch(pod);
  h.open(pod);
  await h.clock.advance(30 * MINUTE);
  t.equal(h.calls.length, 2);
});

t.test('due times are spread', async (t) => {
  let turn = 0;
  const h = new SessionsHarness({
    random: () => {
      turn += 1;
      return (turn % 100) / 100;
    },
  });
  h.auto = (call) => call.grant();
  for (let i = 0; i < 100; i += 1) await h.fetch(h.pod(`sa-${i}`, `pod-${i}`));
  const due = [...h.sessions.all()].map((session) => session.renewAt - h.clock.now());
  t.ok(Math.max(...due) <= 3 * HOUR);
  t.ok(Math.max(...due) - Math.min(...due) > 30 * MINUTE);
});

t.test('while EKS Auth is away a session is served until 15 s before its end', async (t) => {
  const h = new SessionsHarness();
  h.auto = (call) => call.grant();
  const pod = h.pod('cart', 'cart-1');
  await h.fetch(pod);
  h.auto = (call) => call.fail({ kind: 'network', code: 'ECONNREFUSED' });
  const key = 'service-account:shop/cart';
  for (let at = 0; at < 6 * HOUR - 15_000; at += 5 * MINUTE) {
    t.ok(h.sessions.servable(key, h.clock.now()));
    await h.clock.advance(Math.min(5 * MINUTE, 6 * HOUR - 15_000 - at - 1));
  }
  t.ok(h.sessions.servable(key, h.clock.now()), 'a moment before');
  await h.clock.advance(1);
  t.notOk(h.sessions.servable(key, h.clock.now()));
  t.ok(h.calls.length < 700, `${h.calls.length} attempts`);
  h.auto = (call) => call.grant();
  await h.clock.advance(3_000);
  t.ok(h.open(pod).kind === 'credentials' || (await h.fetch(pod)).ok, 'and is back at once');
});

t.test(
  'a renewal that is refused is tried with the other pods before it ends the session',
  async (t) => {
    const h = new SessionsHarness();
    h.auto = (call) => call.grant();
    const first = h.pod('cart', 'cart-1', { expiresIn: 24 * HOUR });
    const second = h.pod('cart', 'cart-2', { expiresIn: 23 * HOUR });
    await h.fetch(first);
    h.open(second);
    h.auto = (call) =>
      call.token === first.token
        ? call.fail({ kind: 'refused', code: 'AccessDeniedException', status: 400 })
        : call.grant();
    await h.clock.advance(3 * HOUR + 2_000);
    t.same(h.renewals, [false, true]);
    t.equal(h.sessions.size, 1);

    h.auto = (call) =>
      call.fail({ kind: 'refused', code: 'ResourceNotFoundException', status: 404 });
    h.open(second);
    await h.clock.advance(3 * HOUR + 10_000);
    t.equal(h.sessions.size, 0, 'refused for all: the association is gone');
  },
);

t.test('a flush beats the fetch that began before it', async (t) => {
  const h = new SessionsHarness();
  const pod = h.pod('cart', 'cart-1');
  const before = h.fetch(pod);
  await h.clock.advance(0);
  t.equal(
    h.sessions.flush(() => true),
    1,
  );
  const after = h.fetch(pod);
  await h.clock.advance(0);
  t.equal(h.calls.length, 2, 'a fetch of its own');
  h.calls[0]?.grant({ accessKeyId: 'ASIAOLD' });
  t.match(await before, { ok: false, failure: { kind: 'superseded' } });
  t.equal(h.sessions.size, 0);
  h.calls[1]?.grant({ accessKeyId: 'ASIANEW' });
  t.match(await after, { ok: true, credentials: { accessKeyId: 'ASIANEW' } });
  t.equal(h.sessions.size, 1);
});

t.test('a flushed session makes no call that it was still waiting for', async (t) => {
  const h = new SessionsHarness();
  const pod = h.pod('cart', 'cart-1');
  const before = h.fetch(pod);
  await h.clock.advance(0);
  h.calls[0]?.fail({ kind: 'service' });
  await h.clock.advance(0);
  h.sessions.flush(() => true);
  const after = h.fetch(pod);
  await h.clock.advance(5_000);
  t.equal(h.calls.length, 2, 'the fetch before does not go on beside the one that counts');
  h.calls[1]?.grant();
  t.match(await before, { ok: false, failure: { kind: 'superseded' } });
  t.match(await after, { ok: true });
  t.equal(h.queue.waiting, 0);
});

for (const [flag, options] of Object.entries({
  '--max-cache-size 0': { maxCacheSize: 0 },
  '--max-credential-retention-before-renewal 0': { maxCredentialRetention: 0 },
})) {
  t.test(`with ${flag} nothing is kept beyond its fetch`, async (t) => {
    const h = new SessionsHarness(options);
    const pod = h.pod('cart', 'cart-1');
    const both = [h.open(pod), h.open(pod)];
    await h.clock.advance(0);
    h.calls[0]?.grant();
    for (const one of both) t.ok(one.kind === 'fetch' && (await one.fetch.settled).ok);
    t.equal(h.calls.length, 1, 'who asks at once still shares it');
    t.equal(h.sessions.size, 0);
    t.equal(h.open(pod).kind, 'fetch');
  });
}

t.test('a session without a live token is renewed by the next pod that asks', async (t) => {
  const h = new SessionsHarness();
  h.auto = (call) => call.grant();
  const shortLived = h.pod('cart', 'cart-1', { expiresIn: HOUR });
  await h.fetch(shortLived);
  h.open(shortLived);
  await h.clock.advance(4 * HOUR);
  t.equal(h.calls.length, 1);
  const other = h.pod('cart', 'cart-2');
  const session = h.sessions.servable('service-account:shop/cart', h.clock.now());
  if (session !== undefined) h.sessions.renewIfDue(session, other, h.clock.now());
  await h.clock.advance(0);
  t.equal(h.calls.length, 2);
});

t.test('what was fetched for an unproven token becomes the session that it opens', async (t) => {
  const h = new SessionsHarness();
  h.auto = (call) => call.grant();
  const pod = h.pod('cart', 'cart-1');
  const opened = h.sessions.open('token:x', 'token', pod, 'unverified');
  if (opened.kind === 'fetch') await opened.fetch.settled;
  h.sessions.adopt('token:x', 'service-account:shop/cart', 'service-account');
  t.equal(h.sessions.size, 1);
  t.equal(h.open(h.pod('cart', 'cart-2')).kind, 'credentials');
  t.notOk(h.sessions.costsNoCall('token:x', pod.token));
  await h.clock.advance(3 * HOUR);
  t.same(h.renewals, [true]);
});

t.test('what was fetched for an unproven token takes no session’s place', async (t) => {
  const h = new SessionsHarness();
  const pod = h.pod('cart', 'cart-1');
  h.sessions.open('token:x', 'token', pod, 'unverified');
  await h.clock.advance(0);
  h.calls[0]?.grant({ accessKeyId: 'ASIAALONE' });
  const other = h.fetch(h.pod('cart', 'cart-2'));
  await h.clock.advance(0);
  h.sessions.adopt('token:x', 'service-account:shop/cart', 'service-account');
  const asked = h.open(pod);
  t.match(asked, { kind: 'fetch', joined: true }, 'the one that is under way');
  h.calls[1]?.grant({ accessKeyId: 'ASIASHARED' });
  t.match(await other, { ok: true, credentials: { accessKeyId: 'ASIASHARED' } });
  h.sessions.adopt('token:x', 'service-account:shop/cart', 'service-account');
  t.match(h.open(pod), { kind: 'credentials', credentials: { accessKeyId: 'ASIASHARED' } });
  t.equal(h.calls.length, 2);
});
