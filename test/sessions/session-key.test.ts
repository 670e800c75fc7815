import fc from 'fast-check';
import t from 'tap';
import { scopeOf, sessionKey, tokenSessionKey } from '../../src/sessions/session-key.ts';
import { readClaims } from '../../src/tokens/claims.ts';
import { EXPECTED, goodClaims, NOW } from '../tokens/signed-tokens.ts';

const SCOPES = ['service-account', 'pod', 'token'] as const;

interface Names {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly serviceAccountUid: string;
  readonly podUid: string;
}

/** The identity that a token with these names has; undefined where they are no names. */
function identity({ namespace, serviceAccount, serviceAccountUid, podUid }: Names) {
  const claims = goodClaims({
    sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
    'kubernetes.io': {
      namespace,
      pod: { name: 'pod', uid: podUid },
      serviceaccount: { name: serviceAccount, uid: serviceAccountUid },
    },
  });
  try {
    return readClaims(claims, EXPECTED, NOW);
  } catch {
    return undefined;
  }
}

const CART = { namespace: 'shop', serviceAccount: 'cart', serviceAccountUid: 'sa', podUid: 'pod' };

/** Few letters and short, so that names that could be taken for each other are common. */
const letters = (...units: string[]) =>
  fc.string({ unit: fc.constantFrom(...units), minLength: 1, maxLength: 2 });
const name = fc.oneof(
  { weight: 9, arbitrary: letters('a', 'b') },
  { weight: 1, arbitrary: letters('a', '-', '.', '/', ':') },
);
const names = fc.record({
  namespace: name,
  serviceAccount: name,
  serviceAccountUid: name,
  podUid: name,
});

t.test('two keys are the same for the same session alone', async (t) => {
  let compared = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...SCOPES),
      fc.constantFrom(...SCOPES),
      names,
      // Differs in some of them.
      fc.record(
        { namespace: name, serviceAccount: name, serviceAccountUid: name, podUid: name },
        { requiredKeys: [] },
      ),
      fc.constantFrom('one', 'two'),
      (scope, otherScope, left, change, otherToken) => {
        const right = { ...left, ...change };
        const [pod, other] = [identity(left), identity(right)];
        if (pod === undefined || other === undefined) return;
        compared += 1;
        const same =
          scope === otherScope &&
          (scope === 'token'
            ? otherToken === 'one'
            : left.namespace === right.namespace &&
              left.serviceAccount === right.serviceAccount &&
              left.serviceAccountUid === right.serviceAccountUid &&
              (scope !== 'pod' || left.podUid === right.podUid));
        const keys = [sessionKey(pod, 'one', scope), sessionKey(other, otherToken, otherScope)];
        if ((keys[0] === keys[1]) !== same) throw new Error(keys.join(' and '));
      },
    ),
    { numRuns: 5_000 },
  );
  t.ok(compared > 1_000, `${compared} pairs of identities that a token can have`);
});

t.test('no name that could end its part of a key is taken from a token', async (t) => {
  t.ok(identity(CART));
  for (const part of Object.keys(CART)) {
    for (const bad of ['a/b', 'a:b', '', ' ', 'a\n', 'a/', '/a']) {
      t.equal(identity({ ...CART, [part]: bad }), undefined, `${part} ${JSON.stringify(bad)}`);
    }
  }
});

t.test('a token is in no key and cannot be told from one', async (t) => {
  const key = tokenSessionKey('header.payload.signature');
  t.match(key, /^token:[\w-]{43}$/);
  t.not(key, tokenSessionKey('header.payload.signaturf'));
  const pod = identity(CART);
  for (const scope of SCOPES) {
    t.notOk(pod && sessionKey(pod, 'header.payload.signature', scope).includes('payload'));
  }
});

t.test('the scope of a pod', async (t) => {
  const podScope = [
    { namespace: 'bank', serviceAccount: undefined },
    { namespace: 'shop', serviceAccount: 'cart' },
  ];
  const shared = { sessionScope: 'service-account', podScope } as const;
  const of = (namespace: string, serviceAccount: string, rules: Parameters<typeof scopeOf>[1]) => {
    const pod = identity({ ...CART, namespace, serviceAccount });
    return pod && scopeOf(pod, rules);
  };
  t.equal(of('shop', 'search', shared), 'service-account');
  t.equal(of('shop', 'cart', shared), 'pod', 'a service account by name');
  t.equal(of('bank', 'teller', shared), 'pod', 'all of a namespace');
  t.equal(of('bank2', 'cart', shared), 'service-account', 'names are compared whole');
  t.equal(of('shop', 'cart', { sessionScope: 'token', podScope }), 'token', 'the narrower wins');
  t.equal(of('shop', 'search', { sessionScope: 'pod', podScope: [] }), 'pod');
});
