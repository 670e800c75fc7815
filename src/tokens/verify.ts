import {
  createLocalJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  errors,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import type { EpochMs } from '../clock.ts';
import {
  CLOCK_TOLERANCE,
  type ClaimExpectations,
  type PodIdentity,
  readClaims,
  UnfitTokenError,
} from './claims.ts';

/** Public keys to verify under; `id` names this set, so that imported keys can be kept. */
export interface KeySet {
  readonly id: number;
  /** The issuer that these keys belong to. */
  readonly issuer: string;
  readonly jwks: JSONWebKeySet;
}

/** What became of a token. Only `verified` proves anything about who presented it. */
export type Verdict =
  | { readonly verdict: 'verified'; readonly pod: PodIdentity; readonly kid: string | undefined }
  | { readonly verdict: 'unproven'; readonly pod: PodIdentity; readonly cause: UnprovenCause }
  | { readonly verdict: 'unfit'; readonly reason: string };

/** Why a token whose claims would pass was not verified. */
export type UnprovenCause = 'no-keys' | 'unknown-key' | 'other-issuer' | 'bad-signature';

/**
 * Signature algorithms of JWA that are asymmetric (RFC 7518, section 3.1; RFC 8037): with a
 * symmetric one, whoever knows the public key could sign.
 */
const ALGORITHMS: readonly string[] = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];

/** Header parameters by which a token would choose its own key or rules (RFC 7515, section 4.1). */
const REFUSED_PARAMETERS = ['jku', 'jwk', 'x5u', 'x5c', 'crit', 'b64'] as const;

/** Three base64url parts without padding (RFC 7515, section 2). */
const TOKEN_FORM = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/**
 * Judges a service account token: form, header, claims, and its signature where there are
 * keys to check it under.
 *
 * @param token - As the pod presented it; nothing about it is trusted.
 * @param keys - The issuer's keys, or undefined while there are none.
 * @param expected - What the claims have to say.
 * @param now - The time to judge it by.
 * @returns The verdict; it never throws for what a pod can send, and no reason quotes the token.
 * @see https://www.rfc-editor.org/rfc/rfc8725 JWT best current practices
 */
export async function verifyToken(
  token: string,
  keys: KeySet | undefined,
  expected: ClaimExpectations,
  now: EpochMs,
): Promise<Verdict> {
  let pod: PodIdentity;
  let kid: string | undefined;
  try {
    kid = readHeader(token);
    pod = readClaims(readPayload(token), expected, now);
  } catch (error) {
    if (error instanceof UnfitTokenError) return { verdict: 'unfit', reason: error.message };
    throw error;
  }
  if (keys === undefined) return { verdict: 'unproven', pod, cause: 'no-keys' };
  if (pod.issuer !== keys.issuer) return { verdict: 'unproven', pod, cause: 'other-issuer' };
  try {
    await jwtVerify(token, resolverOf(keys), {
      algorithms: [...ALGORITHMS],
      audience: expected.audience,
      issuer: keys.issuer,
      requiredClaims: ['exp'],
      clockTolerance: CLOCK_TOLERANCE / 1_000,
      currentDate: new Date(now),
    });
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) {
      return { verdict: 'unproven', pod, cause: 'unknown-key' };
    }
    // Two keys under one `kid`, none named, or one that is no key (which WebCrypto tells by a
    // DOMException): the set is of no use for this token.
    if (
      error instanceof errors.JOSEError ||
      error instanceof TypeError ||
      error instanceof DOMException
    ) {
      return { verdict: 'unproven', pod, cause: 'bad-signature' };
    }
    throw error;
  }
  return { verdict: 'verified', pod, kid };
}

function readHeader(token: string): string | undefined {
  if (!TOKEN_FORM.test(token) || !token.split('.').every(isCanonical)) {
    throw new UnfitTokenError(
      /^bearer /i.test(token)
        ? 'the Authorization header has to be the bare token, without a scheme'
        : 'it is not a JSON Web Token',
    );
  }
  let header: ReturnType<typeof decodeProtectedHeader>;
  try {
    header = decodeProtectedHeader(token);
  } catch {
    throw new UnfitTokenError('its header cannot be decoded');
  }
  for (const name of REFUSED_PARAMETERS) {
    if (header[name] !== undefined) throw new UnfitTokenError(`its header has ${name}`);
  }
  if (typeof header.alg !== 'string' || !ALGORITHMS.includes(header.alg)) {
    throw new UnfitTokenError('its signature algorithm (alg) is not an accepted asymmetric one');
  }
  if (header.kid !== undefined && typeof header.kid !== 'string') {
    throw new UnfitTokenError('its key id (kid) is not text');
  }
  return header.kid;
}

/**
 * Whether the bits of the last letter that belong to nothing are zero (RFC 4648, section 3.5).
 * Without that a token could be written in 16 ways, each a token of its own to a cache.
 */
function isCanonical(part: string): boolean {
  return Buffer.from(part, 'base64url').toString('base64url') === part;
}

function readPayload(token: string): Readonly<Record<string, unknown>> {
  try {
    return decodeJwt(token);
  } catch {
    throw new UnfitTokenError('its payload cannot be decoded');
  }
}

/** The resolver of the newest key set, kept because importing keys costs more than verifying. */
let kept: { id: number; resolve: JWTVerifyGetKey } | undefined;

function resolverOf(keys: KeySet): JWTVerifyGetKey {
  if (kept?.id !== keys.id) kept = { id: keys.id, resolve: createLocalJWKSet(keys.jwks) };
  return kept.resolve;
}
