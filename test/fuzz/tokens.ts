import { createHmac, createPublicKey } from 'node:crypto';
import fc from 'fast-check';
import { generateIssuerKey, type IssuerKey, signJWS } from '../../src/simulator/issuer-keys.ts';
import { mutated } from './requests.ts';

/** Tokens that are good, of different pods, service accounts and keys. */
export type Issued = readonly [string, string, ...string[]];

const parts = (token: string) => token.split('.') as [string, string, string];
const encode = (text: string | Uint8Array) => Buffer.from(text as string).toString('base64url');
const decode = (part: string) => Buffer.from(part, 'base64url').toString();

/** Bytes of a good token changed here and there. */
export function changed(issued: Issued): fc.Arbitrary<string> {
  const one = issued.map((token) => mutated(Buffer.from(token)));
  return fc.oneof(...one).map((bytes) => Buffer.from(bytes).toString('latin1'));
}

/** Header, claims and signature of different tokens. */
export function swapped(issued: Issued): fc.Arbitrary<string> {
  const from = fc.constantFrom(...issued).map(parts);
  return fc
    .tuple(from, from, from, fc.integer({ min: 0, max: 5 }))
    .map(([one, two, three, how]) => {
      const [header, claims, signature] = [one[0], two[1], three[2]];
      switch (how) {
        case 0:
          return `${claims}.${header}.${signature}`;
        case 1:
          return `${header}.${claims}.${signature}.${one[2]}`;
        case 2:
          return `${header}.${claims}.`;
        case 3:
          return `${one.join('.')},${two.join('.')}`;
        default:
          return `${header}.${claims}.${signature}`;
      }
    });
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** Other ways to write a part of base64url: each decodes to the same, or seems to. */
const SPELLINGS: readonly ((part: string) => string)[] = [
  (part) => part.replaceAll('-', '+').replaceAll('_', '/'),
  (part) => part + '='.repeat((4 - (part.length % 4)) % 4),
  (part) => `${part}=`,
  (part) => `${part}==`,
  // The last letter's bits that belong to nothing.
  (part) => part.slice(0, -1) + LETTERS[LETTERS.indexOf(part.at(-1) as string) ^ 1],
  (part) => part.slice(0, -1) + LETTERS[LETTERS.indexOf(part.at(-1) as string) ^ 2],
  (part) => `${part}A`,
  (part) => `${part.slice(0, 9)} ${part.slice(9)}`,
  (part) => `${part.slice(0, 9)}\t${part.slice(9)}`,
  (part) => `${part.slice(0, 9)}\r\n ${part.slice(9)}`,
  (part) => `${part.slice(0, 9)}%${part.slice(9)}`,
  (part) => `${part.slice(0, 9)}\u00a0${part.slice(9)}`,
  (part) => part.replace(/[A-Z]/, (letter) => letter.toLowerCase()),
  (part) => encode(part),
  (part) => Buffer.from(part, 'base64url').toString('hex'),
  (part) => encode(Buffer.from(part, 'base64url').toString('utf16le')),
  (part) => encode(`\ufeff${decode(part)}`),
  (part) => encode(`${decode(part)} `),
  (part) => encode(decode(part).replace(':', ': ')),
  (part) => encode(decode(part).replace('"', '\\u0022')),
  () => '',
];

/** A good token with some of its parts written in another way. */
export function respelt(issued: Issued): fc.Arbitrary<string> {
  return fc
    .tuple(
      fc.constantFrom(...issued),
      fc.array(fc.tuple(fc.nat(2), fc.constantFrom(...SPELLINGS)), { minLength: 1, maxLength: 3 }),
    )
    .map(([token, spellings]) => {
      const pieces = parts(token);
      for (const [index, spell] of spellings) pieces[index as 0] = spell(pieces[index as 0]);
      return pieces.join('.');
    });
}

const odd: fc.Arbitrary<string> = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.stringify(value)),
  fc.constantFrom(
    ...['null', 'true', '0', '-0', '-1', '1e308', '1e400', '-1e400', '9007199254740993', '1E+2'],
    ...[
      '0.1e-400',
      '""',
      '"\\u0000"',
      '"\\ud800"',
      '"\\r\\nX: y"',
      '"é"',
      '"\u202e"',
      '"__proto__"',
    ],
    ...['[]', '{}', '[[]]', '{"":""}', '{"__proto__":{}}', '{"toString":1}', '{"length":1}'],
    ...['01', '+1', 'NaN', 'Infinity', "'x'", '{a:1}', '[1,]', '/**/1', '"\t"', '"x', ''],
    ...[1, 50, 3_000].flatMap((depth) => [
      '['.repeat(depth) + ']'.repeat(depth),
      `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`,
    ]),
    `"${'x'.repeat(9_000)}"`,
    `[${'0,'.repeat(3_000)}0]`,
    `1${'0'.repeat(4_000)}`,
  ),
);

const CLAIMS = ['aud', 'exp', 'nbf', 'iat', 'iss', 'sub', 'jti', 'kubernetes.io'];
const KUBERNETES = ['namespace', 'serviceaccount', 'pod', 'node', 'name', 'uid'];
const HEADERS = ['alg', 'kid', 'typ', 'cty', 'crit', 'jwk', 'jku', 'x5c', 'x5u', 'b64', 'zip'];
const NASTY = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'then',
  '',
  'e\\u0078p',
  'a\\u0075d',
];

/** JSON of an object with members added, replaced, doubled and removed: as text, since objects cannot say it. */
function disfigured(text: string, names: readonly string[]): fc.Arbitrary<string> {
  const member = fc.record({
    how: fc.constantFrom('first', 'last', 'replace', 'remove', 'inside', 'whole'),
    name: fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...names) }, fc.constantFrom(...NASTY)),
    value: odd,
  });
  return fc.array(member, { minLength: 1, maxLength: 3 }).map((members) => {
    let json = text;
    for (const { how, name, value } of members) {
      const one = `"${name}":${value}`;
      const found = new RegExp(
        `"${name.replace(/[.\\]/g, '\\$&')}":(?:"[^"]*"|[\\w.]+|\\[[^\\]]*\\])`,
      );
      switch (how) {
        case 'first':
          json = json.replace('{', () => `{${one},`);
          break;
        case 'last':
          json = json.replace(/\}$/, () => `,${one}}`);
          break;
        case 'replace':
          json = json.replace(found, () => one);
          break;
        case 'remove':
          json = json.replace(found, '"x":0');
          break;
        case 'inside':
          json = json.replace(/(?<=.)\{/, () => `{${one},`);
          break;
        default:
          json = value;
      }
    }
    return json;
  });
}

/** A header and claims that are not as an issuer would write them. */
function oddParts(issued: Issued): fc.Arbitrary<[header: string, claims: string]> {
  return fc.constantFrom(...issued).chain((token) => {
    const [header, claims] = parts(token).map(decode) as [string, string, string];
    return fc.tuple(
      fc.oneof({ weight: 3, arbitrary: fc.constant(header) }, disfigured(header, HEADERS)),
      fc.oneof(
        { weight: 1, arbitrary: fc.constant(claims) },
        { weight: 4, arbitrary: disfigured(claims, [...CLAIMS, ...KUBERNETES]) },
      ),
    );
  });
}

/** Signs the first two parts. */
type Signer = (input: string) => string;

/** Ways to sign without the issuer's key. */
function forgers(issued: Issued, published: readonly object[]): readonly Signer[] {
  const foreign = (['ES256', 'RS256'] as const).map((algorithm) => generateIssuerKey(algorithm));
  const secrets = published.flatMap((jwk) => [
    JSON.stringify(jwk),
    createPublicKey({ key: jwk as never, format: 'jwk' })
      .export({ type: 'spki', format: 'pem' })
      .toString(),
  ]);
  return [
    ...issued.map((token) => () => parts(token)[2]),
    ...foreign.map((key) => (input: string) => signJWS(input, key)),
    ...secrets.map(
      (secret) => (input: string) => createHmac('sha256', secret).update(input).digest('base64url'),
    ),
    () => '',
    () => 'AAAA',
    // Zeros, as in the "psychic" signatures of CVE-2022-21449.
    () => encode(new Uint8Array(64)),
    () => encode(new Uint8Array(256)),
  ];
}

/** Tokens that say anything, signed by anybody but the issuer. */
export function forged(issued: Issued, published: readonly object[]): fc.Arbitrary<string> {
  const signer = fc.constantFrom(...forgers(issued, published));
  const algorithm = fc.constantFrom('', 'none', 'None', 'HS256', 'RS256', 'ES256', 'RS1', 'dir');
  return fc.tuple(oddParts(issued), signer, algorithm).map(([[header, claims], sign, alg]) => {
    const said = alg === '' ? header : header.replace(/"alg":"\w+"/, `"alg":"${alg}"`);
    const input = `${encode(said)}.${encode(claims)}`;
    return `${input}.${sign(input)}`;
  });
}

/** A token that the issuer has signed, whatever it says. */
export interface OddToken {
  readonly text: string;
  /** What it says, as JSON. */
  readonly claims: string;
}

/** Tokens that the issuer has signed and that say what no issuer would. */
export function oddlyIssued(issued: Issued, key: IssuerKey): fc.Arbitrary<OddToken> {
  const header = JSON.stringify({ alg: key.algorithm, kid: key.kid });
  return oddParts(issued).map(([, claims]) => {
    const input = `${encode(header)}.${encode(claims)}`;
    return { text: `${input}.${signJWS(input, key)}`, claims };
  });
}
