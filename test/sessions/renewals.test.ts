import t from 'tap';
import { TokenBucket } from '../../src/token-bucket.ts';
import { HOUR, SessionsHarness } from '../support/sessions-harness.ts';

const MINUTE = 60_000;

/** A harness whose EKS Auth grants, from `throttle` on a call a second. */
function throttled(options: ConstructorParameters<typeof SessionsHarness>[0] = {}) {
  const h = new SessionsHarness({ renewalQps: 100, ...options });
  h.auto = (call) => call.grant();
  return {
    h,
    throttle: () => {
      const quota = new TokenBucket(1, 1);
      h.auto = (call) => {
        if (quota.take(h.clock.elapsed())) call.grant();
        else call.fail({ kind: 'throttled', code: 'ThrottlingException', status: 429 });
      };
      h.pace.ended('answered');
      h.pace.ended('throttled');
    },
  };
}

t.test('with less than 20 minutes left a session is renewed before all else', async (t) => {
  const { h, throttle } = throttled();
  const near = h.pod('cart', 'cart-1');
  await h.fetch(near);
  h.open(near);
  // Its renewals fail until 21 minutes before its end.
  h.auto = (call) => call.fail({ kind: 'service', code: 'InternalServerException', status: 500 });
  await h.clock.advance(6 * HOUR - 19 * MINUTE);
  throttle();
  const before = h.calls.length;
  for (let i = 0; i < 50; i += 1) h.open(h.pod(`account-${i}`, `pod-${i}`));
  await h.clock.advance(15_000);
  const first = h.calls.slice(before).findIndex(({ token }) => token === near.token);
  const servedBefore = h.calls.length - before;
  t.ok(first >= 0, 'it was renewed');
  t.ok(first < servedBefore - 1, `in front of pods that wait: ${first} of ${servedBefore}`);
  t.ok(h.queue.waitingByPriority().foreground > 0, 'while others wait');
});

t.test('a renewal that a pod has come to wait for goes before all else', async (t) => {
  const { h, throttle } = throttled();
  h.lifetime = 60_000;
  const pod = h.pod('cart', 'cart-1');
  await h.fetch(pod);
  h.open(pod);
  await h.clock.advance(29_000);
  throttle();
  for (let i = 0; i < 100; i += 1) h.open(h.pod(`account-${i}`, `pod-${i}`));
  await h.clock.advance(1_000);
  t.equal(h.queue.waitingByPriority().renewal, 1, 'it waits behind pods that have nothing');
  await h.clock.advance(16_000);
  const opened = h.open(pod);
  t.equal(opened.kind, 'fetch', 'what the session held is spent');
  t.equal(h.queue.waitingByPriority().renewal, 0);
  const waiting = h.queue.waitingByPriority().foreground;
  await h.clock.advance(3_000);
  t.equal(h.open(pod).kind, 'credentials');
  t.ok(waiting > 20, `in front of ${waiting}`);
});

t.test('a session is renewed for a live pod that was handed it, and for no other', async (t) => {
  const live = new Set(['uid-of-cart-1']);
  const h = new SessionsHarness({ isLivePod: (uid) => live.has(uid) });
  h.auto = (call) => call.grant();
  const pod = h.pod('cart', 'cart-1', { expiresIn: 48 * HOUR });
  const outcome = await h.fetch(pod);
  if (!outcome.ok) throw new Error('not granted');
  outcome.credentials.handedTo.set('uid-of-cart-1', 1);
  await h.clock.advance(10 * HOUR);
  t.equal(h.calls.length, 4, 'nobody asks, and it is renewed every three hours');
  live.clear();
  await h.clock.advance(12 * HOUR);
  t.equal(h.calls.length, 4, 'the pod is gone');
  t.equal(h.sessions.size, 0);
});

t.test('a renewal passes over tokens that were refused lately', async (t) => {
  const h = new SessionsHarness();
  // The token with the longest life is the one to renew with.
  const first = h.pod('cart', 'cart-1', { expiresIn: 48 * HOUR });
  const second = h.pod('cart', 'cart-2');
  const pending = h.fetch(first);
  await h.clock.advance(0);
  h.calls[0]?.grant();
  await pending;
  h.open(second);
  h.open(first);
  await h.clock.advance(3 * HOUR);
  t.equal(h.calls.length, 2, 'the renewal');
  t.equal(h.calls[1]?.token, first.token);
  h.calls[1]?.fail({ kind: 'refused', code: 'ResourceNotFoundException', status: 404 });
  await h.clock.advance(500);
  // Its pod goes on asking, and so its token is noted anew.
  h.open(first);
  await h.clock.advance(500);
  t.equal(h.calls.length, 3);
  t.equal(h.calls[2]?.token, second.token, "the other pod's token is tried");
  h.calls[2]?.grant();
  await h.clock.advance(0);
  t.equal(h.sessions.size, 1);
});

t.test('renewals that fell due while another broker made them are made up for', async (t) => {
  const h = new SessionsHarness({ random: () => 0.5 });
  h.auto = (call) => call.grant();
  const pod = h.pod('cart', 'cart-1');
  await h.fetch(pod);
  h.open(pod);
  await h.fetch(h.pod('unused', 'unused-1'));
  h.sessions.standBy(true);
  await h.clock.advance(4 * HOUR);
  t.equal(h.calls.length, 2, 'this one makes none');
  h.sessions.standBy(false);
  await h.clock.advance(1_000);
  t.strictSame(
    h.calls.slice(2).map(({ token }) => token),
    [pod.token],
    'only the session in use is renewed',
  );
  await h.clock.advance(2 * HOUR);
  t.equal(h.sessions.size, 1, 'the other one ends with its credentials');
});
