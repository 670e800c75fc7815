import t from 'tap';
import { REFRESH_INTERVAL, UNCONFIRMED_LIFETIME } from '../../src/identity/key-ring.ts';
import { settle } from '../support/manual-clock.ts';
import { EXPECTED, ISSUER } from '../tokens/signed-tokens.ts';
import { foreignOne, one, setUp, shown, two, unpublished } from './identity-harness.ts';

t.test('keys that have proven nothing refuse nobody', async (t) => {
  const { keyRing, identity, minted, judged } = setUp();
  await keyRing.useIssuer(ISSUER);
  for (const [text, cause] of [
    [minted(foreignOne), 'bad-signature'],
    [minted(unpublished), 'unknown-key'],
    [minted(one, { iss: 'https://other.example' }), 'other-issuer'],
  ] as const) {
    const who = await identity.identify(text);
    t.match(who, { kind: 'unverified', cause, pod: { pod: 'cart-0' } });
  }
  t.strictSame(judged, ['skipped', 'skipped', 'skipped']);
  t.equal(identity.remembered, 0);
});

t.test('keys that have proven themselves refuse what they do not verify', async (t) => {
  const { keyRing, identity, minted, judged } = setUp();
  await keyRing.useIssuer(ISSUER);
  await identity.identify(minted());
  judged.length = 0;
  for (const [text, reason] of [
    [minted(foreignOne), /signature does not verify/],
    [minted(unpublished), /does not publish \(kid\)/],
    [minted(one, { iss: 'https://other.example' }), /\(iss\)/],
    [minted(one, { iss: `${ISSUER}/` }), /\(iss\)/],
  ] as const) {
    const who = await identity.identify(text);
    t.equal(who.kind, 'refused');
    t.match(shown(who), reason);
    t.notMatch(shown(who), text.split('.')[1] as string);
  }
  t.strictSame(judged, ['failure', 'failure', 'failure', 'failure']);
});

t.test('what is unfit is refused, whatever is known of keys', async (t) => {
  for (const keys of [[], [one]]) {
    const { keyRing, identity, minted } = setUp({ keys });
    await keyRing.useIssuer(ISSUER);
    for (const text of ['', 'no token', `Bearer ${minted()}`, minted(one, { aud: 'other' })]) {
      t.equal((await identity.identify(text)).kind, 'refused');
    }
    t.equal(identity.remembered, 0);
  }
});

t.test("another node's token is refused, where the node is known", async (t) => {
  const expected = { ...EXPECTED, nodeName: 'ip-10-0-0-99.ec2.internal' };
  const { keyRing, identity, minted } = setUp({ expected });
  await keyRing.useIssuer(ISSUER);
  t.match(shown(await identity.identify(minted())), /^refused: .*another node/);
});

t.test('without keys nothing is proven, and nothing refused', async (t) => {
  const { clock, keyRing, identity, minted, publish } = setUp({ keys: [] });
  t.equal(shown(await identity.identify(minted())), 'unverified: no-keys', 'no issuer is known');
  await keyRing.useIssuer(ISSUER);
  t.equal(shown(await identity.identify(minted())), 'unverified: no-keys', 'no source has any');
  publish(one);
  await clock.advance(5_000);
  t.equal(shown(await identity.identify(minted())), 'verified', 'they appear');
});

t.test('requests wait for the first keys', async (t) => {
  const { keyRing, identity, minted, source, verified } = setUp();
  source.hold();
  void keyRing.useIssuer(ISSUER);
  const asked = identity.identify(minted());
  await settle();
  t.equal(verified.length, 0);
  source.release();
  t.equal(shown(await asked), 'verified');
});

t.test('but not longer than clients do', async (t) => {
  const { clock, keyRing, identity, minted, source } = setUp();
  source.hold();
  void keyRing.useIssuer(ISSUER);
  const asked = identity.identify(minted());
  await clock.advance(1_900);
  t.equal(shown(await asked), 'unverified: no-keys');
  source.release();
  await settle();
  t.equal(shown(await identity.identify(minted())), 'verified');
});

t.test('a new key is picked up at its first token', async (t) => {
  const { keyRing, identity, minted, publish, source } = setUp();
  await keyRing.useIssuer(ISSUER);
  await identity.identify(minted());
  publish(two, one);
  t.equal(shown(await identity.identify(minted(two))), 'verified');
  t.equal(shown(await identity.identify(minted(one))), 'verified', 'the old one stays good');
  t.equal(source.asked, 2);
});

t.test('forged key ids bring about one fetch, however many', async (t) => {
  const { clock, keyRing, identity, minted, source } = setUp();
  await keyRing.useIssuer(ISSUER);
  await identity.identify(minted());
  t.equal(source.asked, 1);
  const flood = () =>
    Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        identity.identify(minted({ ...unpublished, kid: `forged-${index}` })),
      ),
    );
  t.ok((await flood()).every(({ kind }) => kind === 'refused'));
  t.equal(source.asked, 2);
  t.ok((await flood()).every(({ kind }) => kind === 'refused'));
  t.equal(source.asked, 2);
  await clock.advance(30_000);
  t.ok((await flood()).every(({ kind }) => kind === 'refused'));
  t.equal(source.asked, 3);
});

t.test('an unknown key while its source is away: nobody can tell', async (t) => {
  const { keyRing, identity, minted, source, judged } = setUp();
  await keyRing.useIssuer(ISSUER);
  await identity.identify(minted());
  source.keys = undefined;
  t.match(shown(await identity.identify(minted(two))), /^unavailable: .*cannot be had/);
  t.match(
    shown(await identity.identify(minted(foreignOne))),
    /^refused: its signature/,
    'a known key can',
  );
  t.equal(shown(await identity.identify(minted())), 'verified');
  t.strictSame(judged, ['success', 'skipped', 'failure', 'success']);
});

t.test('a withdrawn key takes its tokens with it', async (t) => {
  const { clock, keyRing, identity, minted, publish } = setUp({ keys: [one, two] });
  await keyRing.useIssuer(ISSUER);
  const [ofOne, ofTwo] = [minted(one), minted(two)];
  await Promise.all([ofOne, ofTwo].map((text) => identity.identify(text)));
  t.equal(identity.remembered, 2);
  publish(two);
  await clock.advance(REFRESH_INTERVAL);
  t.equal(identity.remembered, 1);
  t.equal(identity.recall(ofOne, clock.now()), undefined);
  t.ok(identity.recall(ofTwo, clock.now()));
  t.match(shown(await identity.identify(ofOne)), /^refused: .*\(kid\)/);
});

t.test('another key under the same id takes the tokens of the old one with it', async (t) => {
  const { clock, keyRing, identity, minted, publish } = setUp({ keys: [one, two] });
  await keyRing.useIssuer(ISSUER);
  const text = minted(one);
  await identity.identify(text);
  const replaced = { ...foreignOne, jwk: { ...foreignOne.jwk, kid: 'one' } };
  publish(replaced, two);
  await clock.advance(REFRESH_INTERVAL);
  t.equal(identity.recall(text, clock.now()), undefined);
  t.match(shown(await identity.identify(text)), /^refused: its signature/);
  t.equal(shown(await identity.identify(minted(replaced))), 'verified');
});

t.test('a set that is wholly replaced refuses nobody until it has proven itself', async (t) => {
  const { clock, keyRing, identity, minted, publish } = setUp();
  await keyRing.useIssuer(ISSUER);
  const text = minted(one);
  await identity.identify(text);
  publish(two);
  await clock.advance(REFRESH_INTERVAL);
  t.equal(shown(await identity.identify(text)), 'unverified: unknown-key');
  t.equal(shown(await identity.identify(minted(two))), 'verified');
  t.match(shown(await identity.identify(text)), /^refused: .*\(kid\)/);
});

t.test('a verdict under keys that were replaced meanwhile does not count', async (t) => {
  const { keyRing, identity, minted, publish, control, verified } = setUp({ keys: [one, two] });
  await keyRing.useIssuer(ISSUER);
  await identity.identify(minted(two));
  verified.length = 0;
  control.beforeVerdict = async () => {
    control.beforeVerdict = undefined;
    publish(two);
    await keyRing.fetch();
  };
  const text = minted(one);
  t.match(shown(await identity.identify(text)), /^refused: .*\(kid\)/, 'one that would be good');
  t.equal(verified.length, 2);
  t.equal(identity.remembered, 1, 'is not remembered');

  control.beforeVerdict = async () => {
    control.beforeVerdict = undefined;
    publish(two, one);
    await keyRing.fetch();
  };
  t.equal(shown(await identity.identify(text)), 'verified', 'one that would be refused');
});

t.test('keys that nobody has confirmed for a day verify nothing new', async (t) => {
  const { clock, keyRing, identity, minted, source, publish } = setUp();
  await keyRing.useIssuer(ISSUER);
  const long = { exp: clock.now() / 1_000 + 7 * 86_400 };
  const known = minted(one, long);
  await identity.identify(known);
  source.keys = undefined;
  await clock.advance(UNCONFIRMED_LIFETIME + 1);
  t.equal(shown(await identity.identify(minted())), 'unverified: no-keys');
  t.equal(shown(await identity.identify(known)), 'verified', 'what was verified goes on');
  publish(one);
  await clock.advance(REFRESH_INTERVAL);
  t.equal(shown(await identity.identify(minted())), 'verified');
});

t.test('a token that another time would make good is left to EKS Auth', async (t) => {
  const { identity, clock, keyRing, minted } = setUp();
  await keyRing.useIssuer(ISSUER);
  t.equal(shown(await identity.identify(minted())), 'verified');
  const right = clock.now();
  const brief = { exp: right / 1_000 + 3_600 };
  const good = minted(one, brief);
  const forged = minted(foreignOne, brief);
  for (const hours of [3, -3]) {
    clock.jump(right + hours * 3_600_000 - clock.now());
    t.match(await identity.identify(good), { kind: 'refused', reason: /expired|not valid yet/ });
    clock.alternatives = [right];
    t.match(await identity.identify(good), { kind: 'unverified', cause: 'clock' });
    t.match(
      await identity.identify(forged),
      { kind: 'refused', reason: /signature/ },
      'but not one that is forged',
    );
    t.equal(identity.recall(good, clock.now()), undefined, 'nothing is proven by it');
    clock.alternatives = [];
  }
});
