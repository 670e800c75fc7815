import t from 'tap';
import { HOUR, SessionsHarness } from '../support/sessions-harness.ts';

const REJECTED = {
  kind: 'node-credentials',
  code: 'UnrecognizedClientException',
  status: 403,
} as const;
const EXPIRED = { kind: 'token', code: 'ExpiredTokenException', status: 400 } as const;

t.test('a call that is overtaken is made again, and its late answer still counts', async (t) => {
  const h = new SessionsHarness();
  const pending = h.fetch(h.pod('cart', 'cart-1'));
  await h.clock.advance(6_000);
  t.equal(h.calls.length, 2, 'after six seconds');
  h.calls[0]?.grant();
  t.ok((await pending).ok);
  h.calls[1]?.grant();
  await h.clock.advance(60_000);
  t.equal(h.calls.length, 2);
});

t.test('a late refusal counts as well, and a late failure does not', async (t) => {
  const h = new SessionsHarness();
  const [refused, failed] = [h.pod('cart', 'cart-1'), h.pod('checkout', 'checkout-1')];
  const first = h.fetch(refused);
  await h.clock.advance(6_000);
  t.equal(h.calls.length, 2);
  h.calls[0]?.fail({ kind: 'refused', code: 'ResourceNotFoundException', status: 404 });
  t.match(await first, { ok: false, failure: { code: 'ResourceNotFoundException' } });
  const second = h.fetch(failed);
  await h.clock.advance(6_000);
  t.equal(h.calls.length, 4);
  h.calls[2]?.fail({ kind: 'service', code: 'InternalServerException', status: 500 });
  await h.clock.advance(100);
  t.equal(h.calls.length, 4, 'the second call may still be answered');
  h.calls[3]?.grant();
  t.ok((await second).ok);
});

t.test('a late answer is not held up by the queue', async (t) => {
  const h = new SessionsHarness();
  const pending = h.fetch(h.pod('cart', 'cart-1'));
  await h.clock.advance(5_900);
  h.pace.ended('throttled');
  await h.clock.advance(600);
  t.equal(h.queue.waiting, 1, 'the second call waits for its turn');
  h.calls[0]?.grant();
  t.ok((await pending).ok);
  t.equal(h.queue.waiting, 0);
  t.equal(h.calls.length, 1, 'the second call is not made');
});

t.test('a late answer shows that EKS Auth works again', async (t) => {
  const h = new SessionsHarness();
  const pending = h.fetch(h.pod('cart', 'cart-1'));
  await h.clock.advance(5_900);
  for (let call = 0; call < 10; call += 1) h.pace.ended('failed');
  await h.clock.advance(200);
  t.equal(h.queue.waiting, 1, 'the second call waits for its turn');
  h.open(h.pod('checkout', 'checkout-1'));
  t.equal(h.calls.length, 1, 'and so does another session');
  h.calls[0]?.grant();
  t.ok((await pending).ok);
  t.equal(h.pace.mode, 'recovering');
  t.equal(h.calls.length, 2, 'which need not wait any longer');
});

t.test('a call that was not made is not one that EKS Auth leaves unanswered', async (t) => {
  const h = new SessionsHarness();
  const opened = h.open(h.pod('cart', 'cart-1'));
  if (opened.kind !== 'fetch') throw new Error('nothing is fetched');
  const { flight } = opened.fetch;
  h.obstacle = { kind: 'node-credentials', code: 'NodeCredentialsPending', message: 'waiting' };
  t.equal(flight.reason, h.obstacle);
  await h.clock.advance(6_000);
  t.equal(flight.lastFailure, h.obstacle, 'also when it is made again');
  h.obstacle = undefined;
  await h.clock.advance(6_000);
  t.match(flight.reason, { code: 'Unanswered' });
  h.calls[0]?.grant();
  t.ok((await opened.fetch.settled).ok);
});

t.test('a late answer ends the pause after a second call that failed', async (t) => {
  const h = new SessionsHarness();
  const pending = h.fetch(h.pod('cart', 'cart-1'));
  await h.clock.advance(6_000);
  h.calls[1]?.fail({ kind: 'network', code: 'ECONNRESET' });
  await h.clock.advance(10);
  h.calls[0]?.grant();
  t.ok((await pending).ok);
  await h.clock.advance(1_000);
  t.equal(h.calls.length, 2);
});

t.test('a late answer that is not for the session is used once', async (t) => {
  const h = new SessionsHarness();
  const pending = h.fetch(h.pod('cart', 'cart-1'));
  await h.clock.advance(6_000);
  h.calls[0]?.grant({ audience: 'sts.amazonaws.com' });
  await h.clock.advance(200);
  t.equal(h.calls.length, 3, 'another call is made');
  h.calls[2]?.grant();
  t.ok((await pending).ok);
});

t.test(
  'a late answer does not make calls that began before the second one look lost',
  async (t) => {
    const h = new SessionsHarness();
    const slow = h.fetch(h.pod('cart', 'cart-1'));
    await h.clock.advance(3_000);
    const other = h.fetch(h.pod('checkout', 'checkout-1'));
    await h.clock.advance(6_100);
    t.equal(h.calls.length, 3, 'the first call was made again');
    h.calls[0]?.grant();
    t.ok((await slow).ok);
    await h.clock.advance(100);
    t.equal(h.calls.length, 3, 'EKS Auth is slow: the call in between is not made again');
    h.calls[1]?.grant();
    t.ok((await other).ok);
  },
);

t.test('a token is not refused for what EKS Auth said about another one', async (t) => {
  const h = new SessionsHarness({ flightTimeout: 5_000 });
  const [spent, good] = [h.pod('cart', 'cart-1'), h.pod('cart', 'cart-2')];
  const pending = h.fetch(spent);
  h.open(good);
  // No call can start any more: the most that may be under way at once are.
  for (let i = 0; i < 300; i += 1) h.open(h.pod(`other-${i}`, `other-${i}`));
  await h.clock.advance(0);
  h.calls[0]?.fail(EXPIRED);
  await h.clock.advance(5_000);
  t.match(await pending, { ok: false, failure: { kind: 'waiting', code: 'NotCalled' } });
  t.notOk(
    h.calls.some(({ token }) => token === good.token),
    'the second token was not tried',
  );
  t.equal(h.open(good).kind, 'fetch', 'nor is it refused');
});

t.test('what is answered late about a rejected token is not about the next one', async (t) => {
  const h = new SessionsHarness();
  const pending = h.fetch(h.pod('cart', 'cart-1'));
  const next = h.pod('cart', 'cart-2');
  h.open(next);
  await h.clock.advance(6_000);
  t.equal(h.calls.length, 2, 'the first call was made again');
  h.calls[1]?.fail(EXPIRED);
  await h.clock.advance(0);
  t.equal(h.calls[2]?.token, next.token);
  h.calls[0]?.fail(EXPIRED);
  await h.clock.advance(0);
  h.calls[2]?.grant();
  t.match(await pending, { ok: true, live: { token: next.token } });
});

t.test('a failed call gives up the place that its session had kept', async (t) => {
  const h = new SessionsHarness({ flightTimeout: 3_000 });
  const [first, late, failing, next] = ['first', 'late', 'failing', 'next'].map((name) =>
    h.pod(name, name),
  ) as [
    ReturnType<typeof h.pod>,
    ReturnType<typeof h.pod>,
    ReturnType<typeof h.pod>,
    ReturnType<typeof h.pod>,
  ];
  h.pace.ended('throttled');
  for (const pod of [first, late, failing]) h.open(pod);
  await h.clock.advance(2_000);
  h.calls[0]?.grant();
  await h.clock.advance(1_000);
  t.equal(h.queue.waiting, 0, 'the time of the other two is over');
  h.open(failing);
  h.open(next);
  h.auto = (call) => call.fail({ kind: 'service', code: 'InternalServerException', status: 500 });
  await h.clock.advance(2_900);
  t.strictSame(
    h.calls.slice(0, 3).map(({ token }) => token),
    [first.token, failing.token, next.token],
  );
});

t.test("sessions wait for the node's new credentials, and for nothing else", async (t) => {
  const h = new SessionsHarness();
  const pending = Array.from({ length: 40 }, (_, index) =>
    h.fetch(h.pod(`app-${index}`, `app-${index}-1`)),
  );
  await h.clock.advance(50);
  const [late, ...others] = [...h.unanswered];
  for (const call of others) call.fail(REJECTED);
  h.auto = (call) => call.fail(REJECTED);
  await h.clock.advance(900);
  t.ok(h.calls.length <= 42, `${h.calls.length - 40} calls meanwhile`);
  h.auto = (call) => call.grant();
  h.queue.credentialsReplaced();
  await h.clock.advance(1);
  const granted = await Promise.all(pending.slice(1));
  t.ok(granted.every(({ ok }) => ok));
  late?.fail({ ...REJECTED, credentialsReplaced: true });
  await h.clock.advance(1);
  t.ok((await pending[0])?.ok, 'nor does who is told of the earlier ones after that');
});

t.test('what is told of earlier credentials says nothing about EKS Auth', async (t) => {
  const h = new SessionsHarness();
  const pending = Array.from({ length: 40 }, (_, index) =>
    h.fetch(h.pod(`app-${index}`, `app-${index}-1`)),
  );
  await h.clock.advance(50);
  h.auto = (call) => call.grant();
  for (const call of [...h.unanswered]) call.fail({ ...REJECTED, credentialsReplaced: true });
  t.equal(h.pace.mode, 'unlimited');
  await h.clock.advance(0);
  t.ok((await Promise.all(pending)).every(({ ok }) => ok));
  t.equal(h.calls.length, 80);
});

t.test('a session gets over a call that throws what it should not', async (t) => {
  let throws = true;
  const h = new SessionsHarness({
    through: (token, call) => (throws ? Promise.reject(new Error('a defect')) : call(token)),
  });
  h.auto = (call) => call.grant();
  const cart = h.pod('cart', 'cart-1');
  t.match(await h.fetch(cart), { ok: false, failure: { kind: 'service', code: 'InternalError' } });
  t.equal(h.unexpected, 1);
  t.equal(h.queue.underWay, 0);
  t.equal(h.clock.pending, 0, 'nobody waits for its answer');
  throws = false;
  t.ok((await h.fetch(cart)).ok);
  throws = true;
  h.open(cart);
  await h.clock.advance(3 * HOUR);
  t.ok(h.unexpected > 1, 'nor is its renewal the end');
  throws = false;
  await h.clock.advance(120_000);
  t.same(h.renewals.slice(-1), [true]);
});

t.test('nor does its lease outlive it', async (t) => {
  let released = 0;
  const h = new SessionsHarness({
    through: () => Promise.reject(new Error('a defect')),
    store: {
      version: 1,
      claim: () =>
        Promise.resolve({
          kind: 'call',
          version: 1,
          release: () => {
            released += 1;
          },
        }),
      keep: () => undefined,
      revoke: () => undefined,
    },
  });
  t.match(await h.fetch(h.pod('cart', 'cart-1')), { ok: false });
  t.equal(released, 1);
});
