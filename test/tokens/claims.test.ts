import t from 'tap';
import { CLOCK_TOLERANCE, readClaims, UnfitTokenError } from '../../src/tokens/claims.ts';
import {
  AUDIENCE,
  type Claims,
  EXPECTED,
  goodClaims,
  ISSUER,
  kubernetesClaims,
  NOW,
  withoutUndefined,
} from './signed-tokens.ts';

const SECONDS = NOW / 1_000;

t.test('good claims say which pod it is', async (t) => {
  t.strictSame(readClaims(goodClaims(), EXPECTED, NOW), {
    namespace: 'shop',
    serviceAccount: 'cart',
    serviceAccountUid: '00000000-0000-4000-8000-000000000001',
    pod: 'cart-0',
    podUid: '00000000-0000-4000-8000-000000000002',
    node: 'ip-10-0-0-10.ec2.internal',
    issuer: ISSUER,
    notBefore: NOW,
    expiresAt: NOW + 86_400_000,
  });
});

t.test('what good claims may look like', async (t) => {
  const good: readonly (readonly [string, Claims])[] = [
    ['aud is text', goodClaims({ aud: AUDIENCE })],
    ['aud lists others too', goodClaims({ aud: ['https://kubernetes.default.svc', AUDIENCE] })],
    ['no nbf', withoutUndefined(goodClaims({ nbf: undefined }))],
    ['no iat', withoutUndefined(goodClaims({ iat: undefined }))],
    ['no jti', withoutUndefined(goodClaims({ jti: undefined }))],
    ['fractions of seconds', goodClaims({ exp: SECONDS + 0.5 })],
    ['other claims', goodClaims({ warnafter: 1, 'example.com/x': { y: [] } })],
    ['no node', kubernetesClaims({ node: undefined })],
    ['warnafter', kubernetesClaims({ warnafter: SECONDS + 3_607 })],
    ['a secret, which older clusters name', kubernetesClaims({ secret: { name: 'x', uid: 'y' } })],
    [
      'a static pod, whose uid is a hash',
      kubernetesClaims({ pod: { name: 'cart-0', uid: 'a'.repeat(32) } }),
    ],
    [
      'a pod name with dots',
      kubernetesClaims({ pod: { name: 'kube-proxy-ip-10-0-0-1.ec2.internal', uid: 'x' } }),
    ],
    [
      'the longest names',
      kubernetesClaims({ pod: { name: 'p'.repeat(253), uid: 'u'.repeat(64) } }),
    ],
  ];
  for (const [name, claims] of good) t.ok(readClaims(claims, EXPECTED, NOW).podUid, name);
});

/** Not to be found in any reason. */
const MARK = 'Zq7Xw9';

const NOT_TEXT: readonly unknown[] = [null, true, 0, 1, [], ['x'], {}, { [MARK]: MARK }];
const NOT_A_RECORD: readonly unknown[] = [null, true, 0, 'x', MARK, [], [{ name: 'x', uid: 'y' }]];
const NOT_A_NAME: readonly unknown[] = [
  ...NOT_TEXT,
  '',
  MARK,
  'Cart',
  'cart_1',
  '-cart',
  'cart-',
  '.cart',
  'cart.',
  'cart/x',
  'cart:x',
  'cart x',
  ' cart',
  'cart\n',
  'c\u0000art',
  'cärt',
  'x'.repeat(254),
];
const NOT_A_UID: readonly unknown[] = [
  ...NOT_TEXT,
  '',
  'a b',
  'a/b',
  'a:b',
  'a_b',
  'a\n',
  `${MARK}!`,
  'x'.repeat(65),
];

t.test('what is missing or wrong is named', async (t) => {
  const account = { name: 'cart', uid: 'x' };
  const pod = { name: 'cart-0', uid: 'x' };
  const wrong: (readonly [string, Claims, RegExp])[] = [
    ['no aud', goodClaims({ aud: undefined }), /audience \(aud\)/],
    ['other aud', goodClaims({ aud: ['sts.amazonaws.com'] }), /audience \(aud\)/],
    ['other aud as text', goodClaims({ aud: MARK }), /audience \(aud\)/],
    ['aud that only begins so', goodClaims({ aud: `${AUDIENCE}.example.com` }), /aud/],
    ['empty aud', goodClaims({ aud: [] }), /aud/],
    ['aud in a list of lists', goodClaims({ aud: [[AUDIENCE]] }), /aud/],
    ...[null, true, 7, {}, { 0: AUDIENCE, length: 1 }].map(
      (aud) => [`aud ${JSON.stringify(aud)}`, goodClaims({ aud }), /aud/] as const,
    ),
    ['no exp', goodClaims({ exp: undefined }), /no expiry \(exp\)/],
    ...[null, 'x', MARK, String(SECONDS + 60), [], {}, true].map(
      (exp) => [`exp ${JSON.stringify(exp)}`, goodClaims({ exp }), /exp is not a number/] as const,
    ),
    ['exp of yesterday', goodClaims({ exp: SECONDS - 86_400 }), /expired \(exp\)/],
    ['exp of 1970', goodClaims({ exp: 0 }), /expired/],
    ['negative exp', goodClaims({ exp: -1 }), /expired/],
    ['nbf of tomorrow', goodClaims({ nbf: SECONDS + 86_400 }), /not valid yet \(nbf\)/],
    ...[null, MARK, [], {}, true].map(
      (nbf) => [`nbf ${JSON.stringify(nbf)}`, goodClaims({ nbf }), /nbf is not a number/] as const,
    ),
    ...[undefined, '', ...NOT_TEXT].map(
      (iss) => [`iss ${JSON.stringify(iss)}`, goodClaims({ iss }), /issuer \(iss\)/] as const,
    ),
    ...[
      undefined,
      '',
      ...NOT_TEXT,
      'system:serviceaccount:shop:till',
      'system:serviceaccount:bank:cart',
      'system:serviceaccount:shop:cart:x',
      'system:serviceaccount:shop',
      'system:serviceaccount:shop:cart ',
      'System:serviceaccount:shop:cart',
      'system:node:ip-10-0-0-10',
      'shop:cart',
    ].map((sub) => [`sub ${JSON.stringify(sub)}`, goodClaims({ sub }), /subject \(sub\)/] as const),
    ...[undefined, ...NOT_A_RECORD].map(
      (value) =>
        [
          `kubernetes.io ${JSON.stringify(value)}`,
          goodClaims({ 'kubernetes.io': value }),
          /no claim kubernetes\.io$/,
        ] as const,
    ),
  ];
  for (const member of ['serviceaccount', 'pod'] as const) {
    for (const value of [undefined, ...NOT_A_RECORD]) {
      wrong.push([
        `${member} ${JSON.stringify(value)}`,
        kubernetesClaims({ [member]: value }),
        new RegExp(`no claim kubernetes\\.io\\.${member}$`),
      ]);
    }
    const good = member === 'pod' ? pod : account;
    wrong.push(
      [`no ${member}.name`, kubernetesClaims({ [member]: { uid: 'x' } }), /no claim .*\.name$/],
      [
        `no ${member}.uid`,
        kubernetesClaims({ [member]: { name: good.name } }),
        /no claim .*\.uid$/,
      ],
    );
    for (const name of NOT_A_NAME) {
      wrong.push([
        `${member}.name ${JSON.stringify(name)}`,
        kubernetesClaims({ [member]: { ...good, name } }),
        new RegExp(`claim kubernetes\\.io\\.${member}\\.name is not of the form`),
      ]);
    }
    for (const uid of NOT_A_UID) {
      wrong.push([
        `${member}.uid ${JSON.stringify(uid)}`,
        kubernetesClaims({ [member]: { ...good, uid } }),
        new RegExp(`claim kubernetes\\.io\\.${member}\\.uid is not of the form`),
      ]);
    }
  }
  for (const namespace of NOT_A_NAME) {
    wrong.push([
      `namespace ${JSON.stringify(namespace)}`,
      kubernetesClaims({ namespace }),
      /claim kubernetes\.io\.namespace is not of the form/,
    ]);
  }
  wrong.push(
    [
      'no namespace',
      kubernetesClaims({ namespace: undefined }),
      /no claim kubernetes\.io\.namespace$/,
    ],
    ['another namespace than sub', kubernetesClaims({ namespace: 'bank' }), /subject \(sub\)/],
    [
      'another account than sub',
      kubernetesClaims({ serviceaccount: { ...account, name: 'till' } }),
      /sub/,
    ],
  );
  for (const node of NOT_A_RECORD) {
    wrong.push([
      `node ${JSON.stringify(node)}`,
      kubernetesClaims({ node }),
      /no claim kubernetes\.io\.node$/,
    ]);
  }
  for (const name of NOT_A_NAME) {
    wrong.push([
      `node.name ${JSON.stringify(name)}`,
      kubernetesClaims({ node: { name, uid: 'x' } }),
      /claim kubernetes\.io\.node\.name is not of the form/,
    ]);
  }

  for (const [name, claims, reason] of wrong) {
    try {
      readClaims(withoutUndefined(claims), EXPECTED, NOW);
      t.fail(`taken: ${name}`);
    } catch (error) {
      t.ok(error instanceof UnfitTokenError, name);
      t.match((error as Error).message, reason, name);
      t.notMatch((error as Error).message, MARK, `${name}: not quoted`);
    }
  }
});

t.test('claims cannot be had from the prototype', async (t) => {
  const parsed = JSON.parse(
    `{"__proto__": ${JSON.stringify(goodClaims())}, "aud": "${AUDIENCE}"}`,
  ) as Claims;
  t.throws(() => readClaims(parsed, EXPECTED, NOW), UnfitTokenError);
});

t.test('a minute of tolerance, both ways', async (t) => {
  t.equal(CLOCK_TOLERANCE, 60_000);
  const judged = (claims: Claims, now: number) => {
    try {
      readClaims(goodClaims(claims), EXPECTED, now);
      return 'good';
    } catch (error) {
      return /\((\w+)\)/.exec((error as Error).message)?.[1];
    }
  };
  const exp = { exp: SECONDS + 600 };
  t.equal(judged(exp, NOW + 600_000), 'good', 'at its end');
  t.equal(judged(exp, NOW + 659_999), 'good', 'a minute after its end');
  t.equal(judged(exp, NOW + 660_000), 'exp', 'and no more');
  const nbf = { nbf: SECONDS + 600 };
  t.equal(judged(nbf, NOW + 600_000), 'good', 'at its beginning');
  t.equal(judged(nbf, NOW + 540_000), 'good', 'a minute before its beginning');
  t.equal(judged(nbf, NOW + 539_999), 'nbf', 'and no earlier');
});

t.test('the node, where both sides name one', async (t) => {
  const here = { audience: AUDIENCE, nodeName: 'ip-10-0-0-10.ec2.internal' };
  const elsewhere = { audience: AUDIENCE, nodeName: 'ip-10-0-0-99.ec2.internal' };
  t.equal(readClaims(goodClaims(), here, NOW).node, 'ip-10-0-0-10.ec2.internal');
  t.throws(() => readClaims(goodClaims(), elsewhere, NOW), { message: /another node/ });
  t.equal(readClaims(kubernetesClaims({ node: undefined }), elsewhere, NOW).node, undefined);
  t.equal(readClaims(goodClaims(), EXPECTED, NOW).node, 'ip-10-0-0-10.ec2.internal');
  t.throws(
    () => readClaims(kubernetesClaims({ node: {} }), EXPECTED, NOW),
    { message: /kubernetes\.io\.node\.name/ },
    'a node without a name is no missing node',
  );
});

t.test('another audience, where it was asked for', async (t) => {
  const expected = { audience: 'vault', nodeName: undefined };
  t.ok(readClaims(goodClaims({ aud: ['vault'] }), expected, NOW));
  t.throws(() => readClaims(goodClaims(), expected, NOW), { message: /is not vault/ });
});
