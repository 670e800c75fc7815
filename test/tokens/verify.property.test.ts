import fc from 'fast-check';
import t from 'tap';
import { type KeySet, type Verdict, verifyToken } from '../../src/tokens/verify.ts';
import {
  type Claims,
  EXPECTED,
  goodClaims,
  ISSUER,
  NOW,
  part,
  signingKey,
  token,
} from './signed-tokens.ts';

const key = signingKey('ES256', 'the-key');
const foreign = signingKey('ES256', 'the-key');
const keys: KeySet = { id: 1, issuer: ISSUER, jwks: { keys: [key.jwk] } };
const good = token(goodClaims(), key);

function judge(text: string): Promise<Verdict> {
  return verifyToken(text, keys, EXPECTED, NOW);
}

/** It was not verified, and what is said of it holds nothing of it. */
async function isHarmless(text: string): Promise<boolean> {
  const verdict = await judge(text);
  if (verdict.verdict === 'verified') return false;
  if (verdict.verdict === 'unproven') return true;
  return text.split('.').every((one) => one.length < 16 || !verdict.reason.includes(one));
}

t.before(async () => {
  const { verdict } = await judge(good);
  if (verdict !== 'verified') throw new Error('the token that is mutated has to be good');
});

t.test('arbitrary text is never verified', async () => {
  const letters = fc.string({
    unit: fc.constantFrom(...'abcXYZ019-_=. \n\0é'),
    maxLength: 80,
    size: 'max',
  });
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.string({ unit: 'binary', maxLength: 200, size: 'max' }), letters),
      isHarmless,
    ),
    { numRuns: 1_000 },
  );
});

t.test('arbitrary bytes and JSON in the three parts are never verified', async () => {
  const bytes = fc
    .uint8Array({ maxLength: 60, size: 'max' })
    .map((value) => Buffer.from(value).toString('base64url'));
  const json = fc.jsonValue().map((value) => part(JSON.stringify(value)));
  const piece = fc.oneof(bytes, json, fc.constantFrom(...good.split('.')));
  await fc.assert(
    fc.asyncProperty(fc.tuple(piece, piece, piece), async (parts) => {
      const text = parts.join('.');
      return text === good || (await isHarmless(text));
    }),
    { numRuns: 1_000 },
  );
});

/** Something else than the good token, with most of its text. */
const mutated = fc
  .tuple(
    fc.nat(good.length),
    fc.constantFrom('replace', 'insert', 'delete', 'cut', 'double', 'swap'),
    fc.oneof(
      fc.constantFrom(...'ABab01-_=.'),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 3 }),
    ),
    fc.integer({ min: 1, max: 40 }),
  )
  .map(([at, how, text, count]) => {
    switch (how) {
      case 'replace':
        return good.slice(0, at) + text + good.slice(at + text.length);
      case 'insert':
        return good.slice(0, at) + text + good.slice(at);
      case 'delete':
        return good.slice(0, at) + good.slice(at + count);
      case 'cut':
        return good.slice(0, at);
      case 'double':
        return good.slice(0, at) + good.slice(Math.max(0, at - count));
      default:
        return good.slice(at) + good.slice(0, at);
    }
  })
  .filter((text) => text !== good);

t.test('a token changed in any place is never verified', async () => {
  await fc.assert(fc.asyncProperty(mutated, isHarmless), { numRuns: 3_000 });
});

const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom<unknown[]>(null, '', 0, -1, 1e308, true, [], {}, 'system:serviceaccount:a:b'),
);

/** Claims with one member, at any depth, that says something else. */
const changedClaims: fc.Arbitrary<Claims> = fc
  .tuple(
    fc.constantFrom(
      ...[['aud'], ['exp'], ['nbf'], ['iss'], ['sub'], ['kubernetes.io']],
      ...['namespace', 'pod', 'node', 'serviceaccount'].map((name) => ['kubernetes.io', name]),
      ...['pod', 'node', 'serviceaccount'].flatMap((name) =>
        ['name', 'uid'].map((member) => ['kubernetes.io', name, member]),
      ),
    ),
    fc.option(anything, { nil: undefined }),
  )
  .map(([path, value]) => {
    const claims = structuredClone(goodClaims());
    const holder = path.slice(0, -1).reduce((inner, name) => inner[name] as Claims, claims);
    holder[path.at(-1) as string] = value;
    return claims;
  });

t.test('claims changed under the old signature are never verified', async () => {
  const [header, , mac] = good.split('.');
  await fc.assert(
    fc.asyncProperty(changedClaims, (claims) => isHarmless(`${header}.${part(claims)}.${mac}`)),
    { numRuns: 500 },
  );
});

t.test('claims signed with another key under the known kid are never verified', async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(changedClaims, fc.constant(goodClaims())), (claims) =>
      isHarmless(token(claims, foreign)),
    ),
    { numRuns: 300 },
  );
});

t.test('what the issuer signs is verified only if it says all that it has to', async () => {
  const names = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
  const uids = /^[A-Za-z0-9-]{1,64}$/;
  await fc.assert(
    fc.asyncProperty(changedClaims, async (claims) => {
      const verdict = await judge(token(claims, key));
      if (verdict.verdict !== 'verified') return true;
      const { pod } = verdict;
      return (
        claims.sub === `system:serviceaccount:${pod.namespace}:${pod.serviceAccount}` &&
        claims.iss === ISSUER &&
        [claims.aud].flat().includes(EXPECTED.audience) &&
        pod.expiresAt + 60_000 > NOW &&
        pod.notBefore - 60_000 <= NOW &&
        [pod.namespace, pod.serviceAccount, pod.pod].every((name) => names.test(name)) &&
        [pod.serviceAccountUid, pod.podUid].every((uid) => uids.test(uid))
      );
    }),
    { numRuns: 500 },
  );
});

t.test('headers that say anything else never choose the key', async () => {
  const names = ['alg', 'kid', 'typ', 'crit', 'jwk', 'jku', 'x5c', 'x5u', 'b64', 'enc', 'zip'];
  const header = fc.dictionary(fc.constantFrom(...names), anything, { minKeys: 1 });
  await fc.assert(
    fc.asyncProperty(header, (changes) => isHarmless(token(goodClaims(), foreign, changes))),
    { numRuns: 500 },
  );
});
