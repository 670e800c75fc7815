import { randomUUID } from 'node:crypto';
import type { DurationMs, EpochMs } from '../clock.ts';
import { type IssuerKey, signJWS } from './issuer-keys.ts';
import { noteSecret } from './test-output.ts';

/** The audience of tokens for EKS Pod Identity. */
export const POD_IDENTITY_AUDIENCE = 'pods.eks.amazonaws.com';

/** A Kubernetes object that a token is bound to. */
export interface BoundObject {
  name: string;
  uid: string;
}

/** The private claims of a projected service account token. */
export interface KubernetesClaims {
  namespace: string;
  serviceaccount: BoundObject;
  pod?: BoundObject | undefined;
  node?: BoundObject | undefined;
  warnafter?: number | undefined;
}

/** The claims of a projected service account token. */
export interface TokenClaims {
  aud: string[];
  iss: string;
  sub: string;
  /** Seconds since the epoch, like all times here (RFC 7519 section 2). */
  exp: number;
  iat: number;
  nbf: number;
  jti: string;
  'kubernetes.io': KubernetesClaims;
}

/** Whom a token is for. */
export interface TokenSubject {
  namespace: string;
  serviceAccount: BoundObject;
  pod?: BoundObject | undefined;
  node?: BoundObject | undefined;
}

/**
 * The claims that an API server puts into a projected service account token.
 *
 * @param subject - Whom the token is for.
 * @param issuer - The cluster's issuer URL.
 * @param now - When it is issued.
 * @param lifetime - Milliseconds until it expires.
 * @see https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
 */
export function tokenClaims(
  subject: TokenSubject,
  issuer: string,
  now: EpochMs,
  lifetime: DurationMs,
): TokenClaims {
  const issuedAt = Math.floor(now / 1_000);
  const { namespace, serviceAccount, pod, node } = subject;
  return {
    aud: [POD_IDENTITY_AUDIENCE],
    exp: Math.floor((now + lifetime) / 1_000),
    iat: issuedAt,
    iss: issuer,
    jti: randomUUID(),
    'kubernetes.io': {
      namespace,
      ...(node && { node }),
      ...(pod && { pod }),
      serviceaccount: serviceAccount,
    },
    nbf: issuedAt,
    sub: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
  };
}

/** How {@link encodeToken} departs from what an API server would do. */
export interface Encoding {
  /** Over the header `{alg, kid}`; `null` removes a member. */
  header?: Record<string, unknown> | undefined;
  /** Makes the signature of the first two parts, instead of `key`. */
  sign?: ((signingInput: string) => string) | undefined;
}

/** Signs claims to a compact JWT. */
export function encodeToken(claims: object, key: IssuerKey, encoding: Encoding = {}): string {
  const header = merge({ alg: key.algorithm, kid: key.kid }, encoding.header);
  const input = `${encodePart(header)}.${encodePart(claims)}`;
  const signature = encoding.sign === undefined ? signJWS(input, key) : encoding.sign(input);
  const token = `${input}.${signature}`;
  noteSecret(token);
  return token;
}

/** `changes` laid over `base`; a `null` removes the member. */
export function merge(base: object, changes: Record<string, unknown> = {}): object {
  const merged: Record<string, unknown> = { ...base };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete merged[name];
    else merged[name] = value;
  }
  return merged;
}

/** A JWT's parts decoded, none of it verified; `undefined` where it is no JWT. */
export function decodeToken(
  token: string,
): { header: Record<string, unknown>; claims: Record<string, unknown> } | undefined {
  const [header, claims, signature, ...rest] = token.split('.');
  if (!header || !claims || signature === undefined || rest.length > 0) return undefined;
  try {
    const decoded = { header: decodePart(header), claims: decodePart(claims) };
    return isRecord(decoded.header) && isRecord(decoded.claims)
      ? (decoded as ReturnType<typeof decodeToken>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a decoded value is a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function encodePart(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}

function decodePart(part: string): unknown {
  return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
}
