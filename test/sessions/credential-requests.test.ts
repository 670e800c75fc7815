import t, { type Test } from 'tap';
import { capturedLog } from '../support/captured-log.ts';
import {
  type Ask,
  accessKeyIdOf,
  CLIENT_WAIT,
  type MintedPod,
  type MintedToken,
  RequestsHarness,
  type RequestsSetUp,
} from '../support/requests-harness.ts';
import { HOUR } from '../support/sessions-harness.ts';
import { ISSUER, signingKey } from '../tokens/signed-tokens.ts';

const KEY = signingKey('ES256', 'published');
const FORGED = { ...signingKey('ES256'), kid: 'published' };

function podOf(pod: string, serviceAccount = 'cart', namespace = 'shop'): MintedPod {
  const serviceAccountUid = `uid-of-${serviceAccount}`;
  return { namespace, serviceAccount, serviceAccountUid, pod, podUid: `uid-of-${pod}` };
}

/** With the keys of the issuer at hand, unless `keys` says otherwise. */
async function setUp(
  t: Test,
  { keys = true, ...options }: RequestsSetUp & { keys?: boolean } = {},
) {
  const h = new RequestsHarness(options);
  t.teardown(() => h.stop());
  if (keys) h.source.keys = [KEY.jwk];
  await h.keyRing.useIssuer(ISSUER);
  return h;
}

/** Asks, and lets what needs nothing from outside run to its end. */
async function asked(h: RequestsHarness, { text }: MintedToken, address?: string): Promise<Ask> {
  const ask = h.ask(text, address);
  await h.settle();
  return ask;
}

t.test('a miss, then hits, each pod told of in the audit log once', async (t) => {
  const { log, lines } = capturedLog();
  const h = await setUp(t, { log });
  h.eksAuth.auto = (call) => call.grant();
  const [first, second] = [h.mint(podOf('cart-1'), KEY), h.mint(podOf('cart-2'), KEY)];
  t.match(await asked(h, first, '10.0.0.7'), { answer: { kind: 'credentials', outcome: 'miss' } });
  const hit = h.ask(first.text, '10.0.0.7');
  t.match(hit.answer, { kind: 'credentials', outcome: 'hit' }, 'at once');
  t.match(await asked(h, second), { answer: { outcome: 'hit' } }, 'a new token of another pod');
  h.ask(second.text);
  t.equal(h.eksAuth.calls.length, 1);
  t.equal(h.callsSaved, 1, 'the call for the second pod');
  t.match(
    lines.filter(({ msg }) => msg === 'credentials handed to pod'),
    [
      {
        pod: 'cart-1',
        podUid: 'uid-of-cart-1',
        namespace: 'shop',
        serviceAccount: 'cart',
        address: '10.0.0.7',
        accessKeyId: accessKeyIdOf(hit.answer),
        assumedRole: /assumed-role/,
      },
      { pod: 'cart-2' },
    ],
  );
  t.equal(lines.filter(({ msg }) => msg === 'credentials handed to pod').length, 2);
});

t.test('who asks meanwhile joins the fetch', async (t) => {
  const h = await setUp(t);
  const pods = Array.from({ length: 30 }, (_, index) => h.mint(podOf(`cart-${index}`), KEY));
  const asks = pods.map(({ text }) => h.ask(text));
  await h.settle();
  t.equal(h.eksAuth.calls.length, 1);
  h.eksAuth.calls[0]?.grant();
  await h.settle();
  t.strictSame(asks.map(({ answer }) => answer?.kind === 'credentials' && answer.outcome).sort(), [
    ...Array.from({ length: 29 }, () => 'joined'),
    'miss',
  ]);
  t.equal(new Set(asks.map(({ answer }) => accessKeyIdOf(answer))).size, 1);
});

t.test('a token that is not acceptable: why, and no call', async (t) => {
  const h = await setUp(t);
  h.eksAuth.auto = (call) => call.grant();
  await asked(h, h.mint(podOf('cart-1'), KEY));
  t.match(await asked(h, h.mint(podOf('cart-2'), FORGED)), {
    answer: { kind: 'bad-token', reason: 'its signature does not verify' },
  });
  t.match(await asked(h, { ...h.mint(podOf('cart-3'), KEY), text: 'no token' }), {
    answer: { kind: 'bad-token', reason: /JSON Web Token/ },
  });
  t.equal(h.eksAuth.calls.length, 1);
});

t.test('the client is told to wait, the fetch goes on', async (t) => {
  const h = await setUp(t);
  const pod = h.mint(podOf('cart-1'), KEY);
  const ask = await asked(h, pod);
  await h.pass(CLIENT_WAIT - 1);
  t.equal(ask.answer, undefined);
  await h.pass(1);
  t.match(ask.answer, { kind: 'too-slow', retryAfter: 1_000 });
  t.equal(ask.answeredAt, CLIENT_WAIT);
  h.eksAuth.calls[0]?.grant();
  await h.settle();
  t.match(h.ask(pod.text).answer, { outcome: 'hit' });
  t.equal(h.eksAuth.calls.length, 1);
});

t.test('what the fetch has failed with so far is told with it', async (t) => {
  const h = await setUp(t);
  h.eksAuth.auto = (call) => call.fail({ kind: 'service', code: 'InternalServerException' });
  const ask = await asked(h, h.mint(podOf('cart-1'), KEY));
  await h.pass(CLIENT_WAIT);
  t.match(ask.answer, { kind: 'too-slow', last: { code: 'InternalServerException' } });
});

t.test('who was sent away is in no audit line', async (t) => {
  const { log, lines } = capturedLog();
  const h = await setUp(t, { log });
  await asked(h, h.mint(podOf('cart-1'), KEY));
  await h.pass(CLIENT_WAIT);
  h.eksAuth.calls[0]?.grant();
  await h.settle();
  t.notOk(lines.some(({ msg }) => msg === 'credentials handed to pod'));
});

for (const [kind, code] of [
  ['refused', 'AccessDeniedException'],
  ['token', 'InvalidTokenException'],
  ['request', 'InvalidParameterException'],
] as const) {
  t.test(`a refusal (${code}) is for the token that drew it`, async (t) => {
    const h = await setUp(t);
    const [refused, neighbour] = [h.mint(podOf('cart-1'), KEY), h.mint(podOf('cart-2'), KEY)];
    const asks = [h.ask(refused.text), h.ask(neighbour.text)];
    await h.settle();
    t.equal(h.eksAuth.calls.length, 1, 'the second has joined the first');
    h.eksAuth.calls[0]?.fail({ kind, code, status: 400 });
    await h.settle();
    if (kind === 'token') {
      t.equal(h.eksAuth.calls[1]?.token, neighbour.text, 'at once, by the same fetch');
    } else {
      t.match(asks[0], { answer: { kind: 'failed', failure: { code } } });
      t.equal(asks[1]?.answer, undefined, 'the neighbour is tried by itself');
      await h.pass(999);
      t.equal(h.eksAuth.calls.length, 1);
      await h.pass(1);
      t.equal(h.eksAuth.calls[1]?.token, neighbour.text);
    }
    h.eksAuth.calls[1]?.grant();
    await h.settle();
    t.match(asks[1], { answer: { kind: 'credentials' } });
  });
}

t.test('what keeps every call from being made is told to all who wait', async (t) => {
  const h = await setUp(t);
  const pods = [h.mint(podOf('cart-1'), KEY), h.mint(podOf('cart-2'), KEY)];
  const asks = pods.map(({ text }) => h.ask(text));
  await h.settle();
  h.eksAuth.calls[0]?.fail({ kind: 'request', code: 'TypeError' });
  await h.settle();
  for (const { answer } of asks)
    t.match(answer, { kind: 'failed', failure: { code: 'TypeError' } });
});

t.test('whoever waits over a flush is given what was fetched after it', async (t) => {
  const h = await setUp(t);
  const ask = await asked(h, h.mint(podOf('cart-1'), KEY));
  h.eksAuth.sessions.flush(() => true);
  h.eksAuth.calls[0]?.grant({ accessKeyId: 'ASIABEFORE' });
  await h.settle();
  t.equal(ask.answer, undefined);
  h.eksAuth.calls[1]?.grant({ accessKeyId: 'ASIAAFTER' });
  await h.settle();
  t.equal(accessKeyIdOf(ask.answer), 'ASIAAFTER');
});

t.test('nothing of an answered request is left behind', async (t) => {
  const h = await setUp(t);
  const before = h.clock.pending;
  h.eksAuth.auto = (call) => call.fail({ kind: 'refused', code: 'AccessDeniedException' });
  for (let index = 0; index < 5; index += 1) {
    await asked(h, h.mint(podOf(`pod-${index}`, `account-${index}`), KEY));
  }
  await h.pass(60_000);
  t.strictSame([...h.eksAuth.sessions.all()], []);
  t.equal(h.clock.pending, before);
});

t.test('without keys EKS Auth judges each token, in a session of its own', async (t) => {
  const h = await setUp(t, { keys: false });
  h.eksAuth.auto = (call) => call.grant();
  const [first, second] = [h.mint(podOf('cart-1'), KEY), h.mint(podOf('cart-2'), KEY)];
  const answers = [await asked(h, first, '10.0.0.1'), await asked(h, second, '10.0.0.2')];
  t.not(accessKeyIdOf(answers[0]?.answer), accessKeyIdOf(answers[1]?.answer));
  t.equal(h.eksAuth.calls.length, 2);
  t.strictSame(h.unverified, ['no-keys', 'no-keys']);
  t.match(await asked(h, first, '10.0.0.1'), { answer: { outcome: 'hit' } });
  t.equal(h.unverified.length, 2, 'what is there already costs nothing of the budget');
});

t.test('the budget is that of the source, whatever the tokens', async (t) => {
  const h = await setUp(t, { keys: false, unverifiedQps: 100 });
  h.eksAuth.auto = (call) => call.grant();
  const asks = [1, 2, 3, 4].map((n) => h.ask(h.mint(podOf(`cart-${n}`), KEY).text));
  await h.settle();
  t.equal(h.eksAuth.calls.length, 1);
  await h.pass(1_000);
  t.equal(h.eksAuth.calls.length, 2, 'one a second, for whoever waits');
  await h.pass(CLIENT_WAIT);
  const sentAway = asks.filter(({ answer }) => answer?.kind === 'too-slow');
  t.equal(sentAway.length, 2);
  t.match(sentAway[0]?.answer, { last: { kind: 'waiting', code: 'TokenNotVerified' } });
});

t.test('whoever is held up by the gate until a call is due again pays for it', async (t) => {
  const gate: (() => void)[] = [];
  const judge = () => new Promise<undefined>((resolve) => gate.push(() => resolve(undefined)));
  const podGate = { admits: () => true, judge };
  // The budgets are used up by the first call, for longer than the request waits.
  const h = await setUp(t, { keys: false, unverifiedQps: 0.1, podGate });
  const pod = h.mint(podOf('cart-1'), FORGED);
  await asked(h, pod);
  gate.shift()?.();
  await h.settle();
  t.equal(h.eksAuth.calls.length, 1);
  const again = await asked(h, pod);
  t.equal(gate.length, 1, 'it would join the fetch');
  h.eksAuth.calls[0]?.fail({ kind: 'token', code: 'InvalidTokenException', status: 400 });
  // By then the refusal is forgotten.
  await h.pass(1_100);
  gate.shift()?.();
  await h.settle();
  t.equal(h.eksAuth.calls.length, 1, 'no call beyond the budget');
  await h.pass(CLIENT_WAIT);
  t.match(again.answer, { kind: 'too-slow', last: { code: 'TokenNotVerified' } });
});

t.test('keys that arrive are of use to whoever waits, and to what was fetched', async (t) => {
  const h = await setUp(t, { keys: false });
  h.eksAuth.auto = (call) => call.grant();
  const [first, second] = [h.mint(podOf('cart-1'), KEY), h.mint(podOf('cart-2'), KEY)];
  const alone = await asked(h, first);
  const waiting = await asked(h, second);
  t.equal(waiting.answer, undefined, 'the budget of their address is used up');
  h.source.keys = [KEY.jwk];
  await h.keyRing.fetch();
  await h.settle();
  t.equal(accessKeyIdOf(waiting.answer), accessKeyIdOf(alone.answer), 'they share it now');
  t.equal(h.eksAuth.calls.length, 1);
  t.strictSame(
    [...h.eksAuth.sessions.all()].map(({ scope }) => scope),
    ['service-account'],
  );
});

t.test(
  'what was under way when the keys arrived is shared by the token’s next request',
  async (t) => {
    const h = await setUp(t, { keys: false });
    const [first, second] = [h.mint(podOf('cart-1'), KEY), h.mint(podOf('cart-2'), KEY)];
    const alone = await asked(h, first);
    h.source.keys = [KEY.jwk];
    await h.keyRing.fetch();
    await h.settle();
    h.eksAuth.calls[0]?.grant();
    await h.settle();
    const again = await asked(h, first);
    t.match(again.answer, { kind: 'credentials', outcome: 'hit' });
    const other = await asked(h, second);
    for (const { answer } of [again, other]) {
      t.equal(accessKeyIdOf(answer), accessKeyIdOf(alone.answer));
    }
    t.equal(h.eksAuth.calls.length, 1);
  },
);

t.test('who is verified before what was fetched without keys is, waits for that', async (t) => {
  const h = await setUp(t, { keys: false });
  h.eksAuth.auto = (call) => call.grant();
  const [first, second] = [h.mint(podOf('cart-1'), KEY), h.mint(podOf('cart-2'), KEY)];
  const alone = await asked(h, first);
  h.autoVerify = false;
  h.source.keys = [KEY.jwk];
  await h.keyRing.fetch();
  const late = await asked(h, second, '10.0.0.2');
  const verification = ({ text }: MintedToken) =>
    h.pendingVerifications.find(({ token }) => token === text);
  await verification(second)?.judge();
  await h.settle();
  t.equal(late.answer, undefined);
  await verification(first)?.judge();
  await h.settle();
  t.equal(accessKeyIdOf(late.answer), accessKeyIdOf(alone.answer));
  t.equal(h.eksAuth.calls.length, 1);
});

t.test(
  'a token that was only accepted, and does not verify, is no session of others',
  async (t) => {
    const h = await setUp(t, { keys: false });
    h.eksAuth.auto = (call) => call.grant();
    const forged = await asked(h, h.mint(podOf('thief'), FORGED));
    h.source.keys = [KEY.jwk];
    await h.keyRing.fetch();
    await h.settle();
    const honest = await asked(h, h.mint(podOf('cart-1'), KEY), '10.0.0.2');
    t.ok(accessKeyIdOf(honest.answer));
    t.not(accessKeyIdOf(honest.answer), accessKeyIdOf(forged.answer));
  },
);

t.test('the issuer is learned from what EKS Auth accepts, and from nothing else', async (t) => {
  const h = new RequestsHarness();
  t.teardown(() => h.stop());
  h.source.keys = [KEY.jwk];
  h.eksAuth.auto = (call) => call.fail({ kind: 'refused', code: 'AccessDeniedException' });
  await asked(h, h.mint(podOf('thief'), FORGED, 'https://attacker.example'), '10.0.0.66');
  t.equal(h.keyRing.issuer, undefined);
  h.eksAuth.auto = (call) => call.grant();
  await asked(h, h.mint(podOf('cart-1'), KEY));
  t.equal(h.keyRing.issuer, ISSUER);
  const second = await asked(h, h.mint(podOf('cart-2'), KEY));
  t.match(second.answer, { kind: 'credentials' });
  t.equal(h.eksAuth.calls.length, 2, 'sharing has come on');
});

t.test('a new key that cannot be looked up: try again, and no call', async (t) => {
  const h = await setUp(t);
  h.eksAuth.auto = (call) => call.grant();
  await asked(h, h.mint(podOf('cart-1'), KEY));
  h.source.keys = undefined;
  const ask = await asked(h, h.mint(podOf('cart-2'), signingKey('ES256', 'new')));
  t.match(ask.answer, { kind: 'failed', failure: { code: 'KeysUnavailable' }, retryAfter: 1_000 });
  t.equal(h.eksAuth.calls.length, 1);
});

t.test('the mixture of scopes', async (t) => {
  const h = await setUp(t, {
    scopeRules: {
      sessionScope: 'service-account',
      podScope: [{ namespace: 'bank', serviceAccount: undefined }],
    },
  });
  h.eksAuth.auto = (call) => call.grant();
  const keyOf = async (pod: MintedPod) => accessKeyIdOf((await asked(h, h.mint(pod, KEY))).answer);
  t.equal(await keyOf(podOf('a')), await keyOf(podOf('b')));
  const teller = await keyOf(podOf('c', 'teller', 'bank'));
  t.not(teller, await keyOf(podOf('d', 'teller', 'bank')), 'pods of their own');
  t.equal(teller, await keyOf(podOf('c', 'teller', 'bank')), 'over the rotation of a token');
  t.equal(h.eksAuth.calls.length, 3);
});

t.test('new and verified tokens are told apart', async (t) => {
  const h = await setUp(t);
  h.autoVerify = false;
  const { text } = h.mint(podOf('cart-1'), KEY);
  t.equal(h.requests.isNew(text), true);
  h.ask(text);
  await h.settle();
  t.equal(h.requests.isNew(text), false, 'it is being judged');
  t.equal(h.requests.isVerified(text), false);
  await h.pendingVerifications[0]?.judge();
  await h.settle();
  t.equal(h.requests.isVerified(text), true);
  await h.pass(25 * HOUR);
  t.equal(h.requests.isVerified(text), false, 'it has expired');
});

t.test('a request that waits for its turn when the broker stops is answered', async (t) => {
  const h = await setUp(t);
  h.eksAuth.pace.ended('throttled');
  const first = h.mint(podOf('cart-1'), KEY);
  const second = h.mint(podOf('checkout-1', 'checkout'), KEY);
  const [ask, waits] = [await asked(h, first), await asked(h, second)];
  t.equal(h.eksAuth.queue.waiting, 2);
  h.eksAuth.queue.stop();
  await h.settle();
  for (const { answer } of [ask, waits]) {
    t.match(answer, { kind: 'failed', failure: { kind: 'waiting', code: 'Stopping' } });
  }
  t.match(await asked(h, second), { answer: { kind: 'failed' } }, 'and so is one that comes later');
});
