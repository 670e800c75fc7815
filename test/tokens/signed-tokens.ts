import { constants, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import type { JWK } from 'jose';
import type { ClaimExpectations } from '../../src/tokens/claims.ts';

/** Who the tests' tokens are for. */
export const AUDIENCE = 'pods.eks.amazonaws.com';
export const ISSUER =
  'https://oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF';
export const EXPECTED: ClaimExpectations = { audience: AUDIENCE, nodeName: undefined };
/** When the tests' tokens are judged, unless a test says otherwise. */
export const NOW = Date.parse('2026-03-01T12:00:00Z');

export type Claims = Record<string, unknown>;

/** The claims of a good token of the pod `cart-0` of `shop/cart`, laid out as EKS does. */
export function goodClaims(changes: Claims = {}, now = NOW): Claims {
  const seconds = Math.floor(now / 1_000);
  return {
    aud: [AUDIENCE],
    exp: seconds + 86_400,
    iat: seconds,
    nbf: seconds,
    iss: ISSUER,
    jti: randomUUID(),
    'kubernetes.io': {
      namespace: 'shop',
      node: { name: 'ip-10-0-0-10.ec2.internal', uid: '00000000-0000-4000-8000-000000000003' },
      pod: { name: 'cart-0', uid: '00000000-0000-4000-8000-000000000002' },
      serviceaccount: { name: 'cart', uid: '00000000-0000-4000-8000-000000000001' },
    },
    sub: 'system:serviceaccount:shop:cart',
    ...changes,
  };
}

/** Good claims with members of `kubernetes.io` changed; undefined removes one. */
export function kubernetesClaims(changes: Claims): Claims {
  const good = goodClaims();
  const merged = { ...(good['kubernetes.io'] as Claims), ...changes };
  return { ...good, 'kubernetes.io': withoutUndefined(merged) };
}

/** As `JSON.stringify` would leave it. */
export function withoutUndefined(claims: Claims): Claims {
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
}

/** A key to sign tokens with. */
export interface SigningKey {
  readonly alg: string;
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** The public half, as it is published. */
  readonly jwk: JWK;
}

/** Makes a key for one of the algorithms of JWA. */
export function signingKey(alg: string, kid: string = randomUUID()): SigningKey {
  const { privateKey, publicKey } = generate(alg);
  const { kty, ...members } = publicKey.export({ format: 'jwk' }) as JWK;
  const jwk = { ...members, kty, kid, alg, use: 'sig' } as JWK;
  return { alg, kid, privateKey, publicKey, jwk };
}

const CURVES: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };

function generate(alg: string): { privateKey: KeyObject; publicKey: KeyObject } {
  const namedCurve = CURVES[alg];
  if (namedCurve !== undefined) return generateKeyPairSync('ec', { namedCurve });
  if (alg === 'EdDSA' || alg === 'Ed25519') return generateKeyPairSync('ed25519');
  return generateKeyPairSync('rsa', { modulusLength: 2_048 });
}

/** The signature of a JWS, as base64url. */
export function signature(input: string, { alg, privateKey }: SigningKey): string {
  const data = Buffer.from(input);
  const hash = `sha${alg.slice(2)}`;
  if (alg === 'EdDSA' || alg === 'Ed25519') {
    return sign(null, data, privateKey).toString('base64url');
  }
  if (alg.startsWith('ES')) {
    return sign(hash, data, { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url');
  }
  if (alg.startsWith('PS')) {
    const pss = {
      key: privateKey,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    };
    return sign(hash, data, pss).toString('base64url');
  }
  return sign(hash, data, privateKey).toString('base64url');
}

/** One part of a token. */
export function part(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString(
    'base64url',
  );
}

/**
 * A signed token.
 *
 * @param header - Over `{alg, kid}`; undefined removes a member.
 */
export function token(claims: unknown, key: SigningKey, header: Claims = {}): string {
  const input = `${part(withoutUndefined({ alg: key.alg, kid: key.kid, ...header }))}.${part(claims)}`;
  return `${input}.${signature(input, key)}`;
}
