import { createHmac, createPublicKey } from 'node:crypto';
import type { JWK } from 'jose';
import t from 'tap';
import { type KeySet, type Verdict, verifyToken } from '../../src/tokens/verify.ts';
import {
  AUDIENCE,
  type Claims,
  EXPECTED,
  goodClaims,
  ISSUER,
  kubernetesClaims,
  NOW,
  part,
  type SigningKey,
  signature,
  signingKey,
  token,
  withoutUndefined,
} from './signed-tokens.ts';

const rsa = signingKey('RS256', 'rsa-key');
const ec = signingKey('ES256', 'ec-key');
/** Is not published. */
const foreign = signingKey('RS256', 'rsa-key');

let sets = 0;
/** Sets have ids of their own, by which imported keys are kept. */
function keySet(...keys: readonly (SigningKey | JWK)[]): KeySet {
  const jwks = { keys: keys.map((key) => ('jwk' in key ? (key as SigningKey).jwk : (key as JWK))) };
  return { id: ++sets, issuer: ISSUER, jwks };
}

const keys = keySet(rsa, ec);

function judge(text: string, now = NOW, under: KeySet | undefined = keys): Promise<Verdict> {
  return verifyToken(text, under, EXPECTED, now);
}

/** `verified`, `unproven: <cause>` or `unfit: <reason>`. */
function shown(verdict: Verdict): string {
  if (verdict.verdict === 'verified') return verdict.verdict;
  return verdict.verdict === 'unproven' ? `unproven: ${verdict.cause}` : `unfit: ${verdict.reason}`;
}

t.test('a good token is verified', async (t) => {
  const verdict = await judge(token(goodClaims(), rsa));
  t.match(verdict, {
    verdict: 'verified',
    kid: 'rsa-key',
    pod: { namespace: 'shop', serviceAccount: 'cart', pod: 'cart-0', issuer: ISSUER },
  });
});

t.test('every asymmetric algorithm', async (t) => {
  for (const alg of [
    'RS256',
    'RS384',
    'RS512',
    'PS256',
    'PS384',
    'PS512',
    'ES256',
    'ES384',
    'ES512',
    'EdDSA',
    'Ed25519',
  ]) {
    const key = signingKey(alg);
    const set = keySet(key, rsa);
    t.equal(shown(await judge(token(goodClaims(), key), NOW, set)), 'verified', alg);
    const other = { ...signingKey(alg), kid: key.kid };
    t.equal(
      shown(await judge(token(goodClaims(), other), NOW, set)),
      'unproven: bad-signature',
      `${alg}, with another key under its kid`,
    );
  }
});

t.test('keys that say less of themselves', async (t) => {
  const { alg: _alg, use: _use, ...bare } = rsa.jwk;
  t.equal(shown(await judge(token(goodClaims(), rsa), NOW, keySet(bare))), 'verified');
  const { kid: _kid, ...nameless } = rsa.jwk;
  const only = keySet(nameless);
  const unnamed = token(goodClaims(), rsa, { kid: undefined });
  t.match(await judge(unnamed, NOW, only), { verdict: 'verified', kid: undefined });
  t.equal(shown(await judge(token(goodClaims(), rsa), NOW, only)), 'unproven: unknown-key');
});

t.test('without a key id, the only key of the algorithm will do', async (t) => {
  const unnamed = token(goodClaims(), rsa, { kid: undefined });
  t.equal(shown(await judge(unnamed, NOW, keySet(rsa, ec))), 'verified');
  t.equal(
    shown(await judge(unnamed, NOW, keySet(rsa, signingKey('RS256')))),
    'unproven: bad-signature',
    'of two, neither',
  );
  t.equal(
    shown(await judge(unnamed, NOW, keySet(rsa, { ...foreign.jwk }))),
    'unproven: bad-signature',
    'nor of two under one kid',
  );
});

t.test('no proof: no keys, unknown keys, another issuer, another signature', async (t) => {
  const good = token(goodClaims(), rsa);
  t.match(await verifyToken(good, undefined, EXPECTED, NOW), {
    verdict: 'unproven',
    cause: 'no-keys',
    pod: { pod: 'cart-0' },
  });
  t.equal(shown(await judge(good, NOW, keySet())), 'unproven: unknown-key', 'an empty set');
  t.equal(shown(await judge(good, NOW, keySet(ec))), 'unproven: unknown-key');
  t.equal(
    shown(await judge(token(goodClaims(), rsa, { kid: 'ec-key' }))),
    'unproven: unknown-key',
    'a kid of a key for another algorithm',
  );
  t.equal(
    shown(await judge(token(goodClaims({ iss: 'https://issuer.example' }), rsa))),
    'unproven: other-issuer',
  );
  t.equal(
    shown(await judge(token(goodClaims({ iss: `${ISSUER}/` }), rsa))),
    'unproven: other-issuer',
  );
  t.equal(shown(await judge(token(goodClaims(), foreign))), 'unproven: bad-signature');
});

t.test('a set with a key that is none refuses no process its life', async (t) => {
  const good = token(goodClaims(), ec);
  for (const [name, broken] of [
    ['a point that is not on the curve', { ...ec.jwk, x: ec.jwk.y as string }],
    ['half a point', { ...ec.jwk, y: undefined }],
    ['an unknown curve', { ...ec.jwk, crv: 'P-999' }],
    ['another curve', { ...ec.jwk, crv: 'P-384' }],
    ['no base64url', { ...ec.jwk, x: '***' }],
    ['nothing', { ...ec.jwk, x: '' }],
  ] as const) {
    const verdict = await judge(good, NOW, keySet(withoutUndefined(broken) as JWK));
    t.match(shown(verdict), /^unproven: (bad-signature|unknown-key)$/, name);
  }
  const signed = token(goodClaims(), rsa);
  for (const [name, broken] of [
    ['a short modulus', { ...rsa.jwk, n: (rsa.jwk.n as string).slice(0, 100) }],
    ['no modulus', { ...rsa.jwk, n: undefined }],
    ['no exponent', { ...rsa.jwk, e: undefined }],
    ['an exponent of 0', { ...rsa.jwk, e: 'AA' }],
    ['for encryption', { ...rsa.jwk, use: 'enc' }],
    ['for other operations', { ...rsa.jwk, key_ops: ['sign'] }],
  ] as const) {
    const verdict = await judge(signed, NOW, keySet(withoutUndefined(broken) as JWK));
    t.match(shown(verdict), /^unproven: (bad-signature|unknown-key)$/, name);
  }
});

t.test('keys are those of the set that is given, whatever was given before', async (t) => {
  const good = token(goodClaims(), rsa);
  const [right, wrong] = [keySet(rsa), keySet(foreign)];
  t.equal(shown(await judge(good, NOW, right)), 'verified');
  t.equal(shown(await judge(good, NOW, wrong)), 'unproven: bad-signature');
  t.equal(shown(await judge(good, NOW, right)), 'verified');
  t.strictSame(
    (await Promise.all([right, wrong, right, wrong].map((set) => judge(good, NOW, set)))).map(
      shown,
    ),
    ['verified', 'unproven: bad-signature', 'verified', 'unproven: bad-signature'],
    'at the same time',
  );
});

const EMBEDDED: Claims = { ...foreign.jwk, kid: 'rsa-key' };

/** Headers that make any token unfit, and the reason that is given. */
const UNFIT_HEADERS: readonly (readonly [string, Claims, RegExp])[] = [
  ['no alg', { alg: undefined }, /signature algorithm \(alg\)/],
  ['alg none', { alg: 'none' }, /\(alg\)/],
  ['alg None', { alg: 'None' }, /\(alg\)/],
  ['alg NONE', { alg: 'NONE' }, /\(alg\)/],
  ['alg HS256', { alg: 'HS256' }, /\(alg\)/],
  ['alg HS384', { alg: 'HS384' }, /\(alg\)/],
  ['alg HS512', { alg: 'HS512' }, /\(alg\)/],
  ['alg rs256', { alg: 'rs256' }, /\(alg\)/],
  ['alg RS1', { alg: 'RS1' }, /\(alg\)/],
  ['alg ES256K', { alg: 'ES256K' }, /\(alg\)/],
  ['alg RSA-OAEP', { alg: 'RSA-OAEP' }, /\(alg\)/],
  ['empty alg', { alg: '' }, /\(alg\)/],
  ['alg of a number', { alg: 256 }, /\(alg\)/],
  ['alg of a list', { alg: ['RS256'] }, /\(alg\)/],
  ['alg null', { alg: null }, /\(alg\)/],
  ['alg __proto__', { alg: '__proto__' }, /\(alg\)/],
  ['crit', { crit: ['exp'] }, /crit$/],
  ['crit of nothing', { crit: [] }, /crit$/],
  ['crit null', { crit: null }, /crit$/],
  ['b64', { b64: false }, /b64$/],
  ['b64, critical', { b64: false, crit: ['b64'] }, /(b64|crit)$/],
  ['jwk', { jwk: EMBEDDED }, /jwk$/],
  ['jku', { jku: 'https://attacker.example/keys' }, /jku$/],
  ['x5u', { x5u: 'https://attacker.example/chain' }, /x5u$/],
  ['x5c', { x5c: ['MIIB'] }, /x5c$/],
  ['kid of a number', { kid: 1 }, /\(kid\)/],
  ['kid of a list', { kid: ['rsa-key'] }, /\(kid\)/],
  ['kid of a record', { kid: { toString: 'rsa-key' } }, /\(kid\)/],
  ['kid null', { kid: null }, /\(kid\)/],
];

t.test('headers by which a token would choose its key or its rules', async (t) => {
  for (const [name, header, reason] of UNFIT_HEADERS) {
    for (const key of [rsa, foreign]) {
      const verdict = await judge(token(goodClaims(), key, header));
      t.equal(verdict.verdict, 'unfit', name);
      if (verdict.verdict === 'unfit') t.match(verdict.reason, reason, name);
    }
  }
  const unknown = token(goodClaims(), rsa, { 'x-other': 1, typ: 'JWT', x5t: 'x' });
  t.equal(shown(await judge(unknown)), 'verified', 'others mean nothing');
});

t.test('HS256 with the public key as the secret', async (t) => {
  const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' });
  const der = rsa.publicKey.export({ type: 'spki', format: 'der' });
  const jwk = JSON.stringify(rsa.jwk);
  for (const secret of [pem, der, jwk, rsa.jwk.n as string]) {
    for (const alg of ['HS256', 'RS256']) {
      const input = `${part({ alg, kid: 'rsa-key' })}.${part(goodClaims())}`;
      const mac = createHmac('sha256', secret).update(input).digest('base64url');
      t.not((await judge(`${input}.${mac}`)).verdict, 'verified');
    }
  }
  t.ok(createPublicKey(pem), 'what is signed with is the key');
});

t.test('signatures that are none', async (t) => {
  const good = token(goodClaims(), rsa);
  const [header = '', payload = '', mac = ''] = good.split('.');
  const other = token(goodClaims({ sub: 'system:serviceaccount:shop:cart' }), rsa).split('.')[2];
  for (const [name, text] of [
    ["another token's", `${header}.${payload}.${other}`],
    ['zeros', `${header}.${payload}.${'A'.repeat(mac.length)}`],
    ['cut', `${header}.${payload}.${mac.slice(0, -4)}`],
    ['longer', `${header}.${payload}.${mac}AAAA`],
    ['one letter', `${header}.${payload}.A`],
    ['changed', `${header}.${payload}.${mac.startsWith('A') ? 'B' : 'A'}${mac.slice(1)}`],
    ['over another payload', `${header}.${part(goodClaims({ jti: 'x' }))}.${mac}`],
    [
      'over another header',
      `${part({ alg: 'RS256', kid: 'rsa-key', typ: 'JWT' })}.${payload}.${mac}`,
    ],
    ['of an ES256 key in DER', derSigned()],
  ] as const) {
    t.match(shown(await judge(text)), /^(unproven: bad-signature|unfit: it is not a JSON)/, name);
  }
});

/** ECDSA as X.509 has it, which JWS has not (RFC 7518, section 3.4). */
function derSigned(): string {
  const input = `${part({ alg: 'ES256', kid: 'ec-key' })}.${part(goodClaims())}`;
  return `${input}.${signature(input, { ...ec, alg: 'RS256' })}`;
}

t.test('a stolen payload: other claims under the same signature', async (t) => {
  const [header, , mac] = token(goodClaims(), rsa).split('.');
  const admin = { serviceaccount: { name: 'admin', uid: 'x' } };
  const claims = { ...kubernetesClaims(admin), sub: 'system:serviceaccount:shop:admin' };
  t.equal(shown(await judge(`${header}.${part(claims)}.${mac}`)), 'unproven: bad-signature');
});

t.test('what is no token', async (t) => {
  const good = token(goodClaims(), rsa);
  const [header = '', payload = '', mac = ''] = good.split('.');
  for (const text of [
    '',
    ' ',
    '.',
    '..',
    '...',
    'x',
    'a.b',
    header,
    `${header}.${payload}`,
    `${header}.${payload}.`,
    `${header}..${mac}`,
    `.${payload}.${mac}`,
    `${good}.${mac}`,
    `${good}.`,
    ` ${good}`,
    `${good} `,
    `${good}\n`,
    `${header} .${payload}.${mac}`,
    `${header}.${payload}.${mac}=`,
    `${header}=.${payload}.${mac}`,
    `${header}.${payload}\u0000.${mac}`,
    good.replaceAll('.', ','),
    'null',
    '{}',
    JSON.stringify({ payload, signatures: [{ protected: header, signature: mac }] }),
    '\u{1f600}.\u{1f600}.\u{1f600}',
    'x'.repeat(100_000),
  ]) {
    const verdict = await judge(text);
    t.equal(shown(verdict), 'unfit: it is not a JSON Web Token', JSON.stringify(text.slice(0, 30)));
  }
  for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
    t.match(shown(await judge(`${scheme} ${good}`)), /bare token, without a scheme$/);
  }
  for (const text of [
    'e30.e30.e30',
    'bnVsbA.bnVsbA.AA',
    'W10.W10.AA',
    'MQ.MQ.AA',
    '_____w.e30.AA',
  ]) {
    t.match(shown(await judge(text)), /^unfit: its (header|signature algorithm)/, text);
  }
  for (const body of ['null', '[]', '1', '"text"', '{', '{}{}', '', '\ufffe', 'true']) {
    const input = `${part({ alg: 'RS256', kid: 'rsa-key' })}.${part(body)}`;
    t.match(
      shown(await judge(`${input}.${signature(input, rsa)}`)),
      /^unfit: (its payload cannot be decoded|it is not a JSON Web Token)$/,
      `payload ${body}`,
    );
  }
});

t.test('one token, one text', async (t) => {
  // The last letter of a part holds bits that belong to nothing (RFC 4648, section 3.5).
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const good = token(goodClaims(), rsa);
  const last = good.at(-1) as string;
  for (const letter of alphabet) {
    if (letter === last) continue;
    const verdict = await judge(good.slice(0, -1) + letter);
    t.not(verdict.verdict, 'verified', `${letter} in place of ${last}`);
  }
});

t.test('claims are judged by the clock that is given, in signed tokens too', async (t) => {
  const seconds = NOW / 1_000;
  const short = token(goodClaims({ nbf: seconds, exp: seconds + 600 }), rsa);
  t.match(shown(await judge(short, NOW - 60_001)), /^unfit: .*\(nbf\)/);
  t.equal(shown(await judge(short, NOW - 60_000)), 'verified');
  t.equal(shown(await judge(short, NOW + 659_999)), 'verified');
  t.match(shown(await judge(short, NOW + 660_000)), /^unfit: .*\(exp\)/);
});

t.test('signed, and yet unfit', async (t) => {
  for (const [name, claims, reason] of [
    ['no exp', withoutUndefined(goodClaims({ exp: undefined })), /\(exp\)/],
    ['wrong aud', goodClaims({ aud: ['sts.amazonaws.com'] }), /\(aud\)/],
    ['wrong sub', goodClaims({ sub: 'system:serviceaccount:shop:admin' }), /\(sub\)/],
    ['no iss', withoutUndefined(goodClaims({ iss: undefined })), /\(iss\)/],
    ['no pod', kubernetesClaims({ pod: undefined }), /kubernetes\.io\.pod/],
    [
      'no kubernetes.io',
      withoutUndefined(goodClaims({ 'kubernetes.io': undefined })),
      /kubernetes/,
    ],
  ] as const) {
    for (const under of [keys, undefined]) {
      const verdict = await verifyToken(token(claims, rsa), under, EXPECTED, NOW);
      t.match(shown(verdict), /^unfit: /, name);
      t.match(shown(verdict), reason, name);
    }
  }
  const elsewhere = { audience: AUDIENCE, nodeName: 'ip-10-0-0-99.ec2.internal' };
  t.match(
    shown(await verifyToken(token(goodClaims(), rsa), keys, elsewhere, NOW)),
    /^unfit: .*another node/,
  );
  t.equal(
    shown(await judge(token(goodClaims({ iat: 'yesterday' }), rsa))),
    'unproven: bad-signature',
    'a claim of which nothing is read has the wrong type',
  );
});

t.test('no verdict quotes the token', async (t) => {
  const marks = ['Zq7Xw9', 'kf3PzQ'];
  const texts = [
    'Zq7Xw9',
    'Bearer Zq7Xw9.kf3PzQ.AAAA',
    `Zq7Xw9.${part(goodClaims())}.AAAA`,
    token(goodClaims({ aud: 'Zq7Xw9', iss: 'kf3PzQ' }), rsa),
    token(goodClaims({ sub: 'Zq7Xw9' }), rsa),
    token(goodClaims({ exp: 'Zq7Xw9' }), rsa),
    token(kubernetesClaims({ namespace: 'Zq7Xw9' }), rsa),
    token(goodClaims(), rsa, { alg: 'Zq7Xw9' }),
    token(goodClaims(), rsa, { crit: ['Zq7Xw9'] }),
    `${part('{"alg":"RS256", Zq7Xw9')}.${part(goodClaims())}.AAAA`,
    `${part({ alg: 'RS256' })}.${part('{"aud": Zq7Xw9')}.AAAA`,
  ];
  for (const text of texts) {
    const verdict = await judge(text);
    t.equal(verdict.verdict, 'unfit');
    for (const mark of marks) t.notMatch(JSON.stringify(verdict), mark);
    for (const piece of text.split('.')) {
      if (piece.length > 3) t.notMatch(JSON.stringify(verdict), piece);
    }
  }
});
