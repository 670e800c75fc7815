import t from 'tap';
import { ISSUER } from '../tokens/signed-tokens.ts';
import { foreignOne, one, setUp, shown } from './identity-harness.ts';

t.test('a token that verifies is remembered', async (t) => {
  const { clock, keyRing, identity, minted, verified, judged } = setUp();
  await keyRing.useIssuer(ISSUER);
  const text = minted();
  t.equal(identity.recall(text, clock.now()), undefined);
  const who = await identity.identify(text);
  t.match(who, {
    kind: 'verified',
    verified: {
      token: text,
      kid: 'one',
      pod: { namespace: 'shop', serviceAccount: 'cart', pod: 'cart-0' },
      sessionKey: `shop/cart ${text.length}`,
      lastServed: undefined,
      admission: undefined,
    },
  });
  t.equal(keyRing.proven, true);
  t.equal(identity.remembered, 1);
  t.equal(identity.recall(text, clock.now()), who.kind === 'verified' && who.verified);
  t.equal(shown(await identity.identify(text)), 'verified');
  t.equal(verified.length, 1, 'and not verified again');
  t.strictSame(judged, ['success', 'success']);
});

t.test('a token that many ask about at once is judged once', async (t) => {
  const { keyRing, identity, minted, verified, judged } = setUp();
  await keyRing.useIssuer(ISSUER);
  const texts = [minted(), minted(), minted(foreignOne)];
  const asked = Array.from({ length: 300 }, (_, index) =>
    identity.identify(texts[index % texts.length] as string),
  );
  await Promise.all(asked);
  t.equal(verified.length, texts.length);
  t.equal(judged.length, texts.length);
  t.equal(identity.remembered, 2);
  await identity.identify(texts[2] as string);
  t.equal(verified.length, texts.length + 1, 'one that did not verify is judged again, later');
});

t.test('the cache of tokens is bounded: the least recently used goes first', async (t) => {
  const { clock, keyRing, identity, minted, verified } = setUp({ most: 3 });
  await keyRing.useIssuer(ISSUER);
  const texts = Array.from({ length: 3 }, () => minted());
  for (const text of texts) await identity.identify(text);
  t.ok(identity.recall(texts[0] as string, clock.now()), 'used again');
  await identity.identify(minted());
  t.equal(identity.remembered, 3);
  t.strictSame(
    texts.map((text) => identity.recall(text, clock.now()) !== undefined),
    [true, false, true],
  );
  const before = verified.length;
  t.equal(shown(await identity.identify(texts[1] as string)), 'verified', 'slower, not wrong');
  t.equal(verified.length, before + 1);
  t.equal(identity.remembered, 3);
});

t.test('expiry is checked on every hit', async (t) => {
  const { clock, keyRing, identity, minted } = setUp();
  await keyRing.useIssuer(ISSUER);
  const text = minted(one, { exp: clock.now() / 1_000 + 600 });
  await identity.identify(text);
  await clock.advance(600_000 + 59_999);
  t.ok(identity.recall(text, clock.now()), 'with a minute of tolerance');
  await clock.advance(1);
  t.equal(identity.recall(text, clock.now()), undefined);
  t.equal(identity.remembered, 0, 'it is dropped');
  t.match(shown(await identity.identify(text)), /^refused: it has expired/);
});

t.test('the beginning is checked on every hit too', async (t) => {
  const { clock, keyRing, identity, minted } = setUp();
  await keyRing.useIssuer(ISSUER);
  const text = minted();
  await identity.identify(text);
  clock.jump(-60_000);
  t.ok(identity.recall(text, clock.now()), 'with a minute of tolerance');
  clock.jump(-1_000);
  t.equal(identity.recall(text, clock.now()), undefined);
  t.match(shown(await identity.identify(text)), /^refused: it is not valid yet/);
  clock.jump(61_000);
  t.ok(identity.recall(text, clock.now()), 'a clock that was wrong is no reason to forget it');
});

t.test('a worker that fails fails those who ask, and nobody after them', async (t) => {
  const { keyRing, identity, minted, control } = setUp();
  await keyRing.useIssuer(ISSUER);
  control.beforeVerdict = () => Promise.reject(new Error('the thread died'));
  const text = minted();
  const asked = [identity.identify(text), identity.identify(text)];
  for (const one of asked) await t.rejects(one, { message: 'the thread died' });
  control.beforeVerdict = undefined;
  t.equal(shown(await identity.identify(text)), 'verified');
});
