import { LRUCache } from 'lru-cache';
import type { DurationMs, EpochMs } from '../clock.ts';
import { modelled } from './aws-error.ts';
import { type IssuerKeys, verifyJWS } from './issuer-keys.ts';
import {
  type BoundObject,
  decodeToken,
  isRecord,
  POD_IDENTITY_AUDIENCE,
} from './service-account-token.ts';

/** Who a token was issued to, as its claims say. */
export interface TokenIdentity {
  namespace: string;
  serviceAccount: string;
  serviceAccountUid: string;
  pod: string;
  podUid: string;
  tokenId: string;
}

interface Verified extends TokenIdentity {
  kid: string;
  expiresAt: EpochMs;
  notBefore: EpochMs;
}

/** The request's pattern for `token` in the service model. */
const TOKEN_PATTERN = /^[A-Za-z0-9-_=]+\.[A-Za-z0-9-_=]+\.[A-Za-z0-9-_=]+$/;
/** Tokens may be used this long before their `nbf`: node clocks differ a little. */
const NOT_BEFORE_LEEWAY: DurationMs = 60_000;
const TOKENS_REMEMBERED = 20_000;

/** EKS Auth's judgement of tokens: signature, issuer, audience, times and claims. */
export class TokenVerifier {
  readonly #keys: IssuerKeys;
  readonly #issuer: string;
  readonly #verified = new LRUCache<string, Verified>({ max: TOKENS_REMEMBERED });

  constructor(keys: IssuerKeys, issuer: string) {
    this.#keys = keys;
    this.#issuer = issuer;
  }

  /**
   * @param token - As the caller sent it.
   * @param now - By the service's clock.
   * @throws AWSServiceError - `InvalidParameterException`, `InvalidTokenException` or
   *   `ExpiredTokenException`.
   */
  verify(token: unknown, now: EpochMs): TokenIdentity {
    if (typeof token !== 'string' || !TOKEN_PATTERN.test(token)) {
      throw modelled(
        'InvalidParameterException',
        `1 validation error detected: Value at 'token' failed to satisfy constraint: Member must satisfy regular expression pattern: ${TOKEN_PATTERN.source.slice(1, -1)}`,
      );
    }
    let verified = this.#verified.get(token);
    if (verified === undefined) {
      verified = this.#check(token);
      this.#verified.set(token, verified);
    } else if (this.#keys.get(verified.kid) === undefined) {
      throw invalid('its signing key is not published');
    }
    if (verified.expiresAt <= now) {
      throw modelled('ExpiredTokenException', 'The service account token is expired.');
    }
    if (verified.notBefore > now + NOT_BEFORE_LEEWAY) throw invalid('it is not yet valid');
    return verified;
  }

  #check(token: string): Verified {
    const decoded = decodeToken(token);
    if (decoded === undefined) throw invalid('it is not a JWT');
    const { header, claims } = decoded;
    const key = typeof header.kid === 'string' ? this.#keys.get(header.kid) : undefined;
    if (key === undefined) throw invalid('its signing key is not published');
    if (header.alg !== key.algorithm) throw invalid('its algorithm is not the signing key’s');
    if (header.crit !== undefined) throw invalid('it has a critical header');
    const dot = token.lastIndexOf('.');
    if (!verifyJWS(token.slice(0, dot), token.slice(dot + 1), key)) {
      throw invalid('its signature does not verify');
    }
    if (claims.iss !== this.#issuer) throw invalid('it is of another issuer');
    const audiences = Array.isArray(claims.aud) ? claims.aud : [claims.aud];
    if (!audiences.includes(POD_IDENTITY_AUDIENCE)) throw invalid('it is for another audience');
    if (typeof claims.exp !== 'number') throw invalid('it has no expiry');
    return {
      ...boundIdentity(claims),
      kid: key.kid,
      expiresAt: claims.exp * 1_000,
      notBefore: typeof claims.nbf === 'number' ? claims.nbf * 1_000 : 0,
    };
  }
}

/** Whom an unverified token says it is of; for the audit log and the scope of faults. */
export function claimedIdentity(token: unknown): Partial<TokenIdentity> {
  const claims = typeof token === 'string' ? decodeToken(token)?.claims : undefined;
  if (claims === undefined) return {};
  try {
    return boundIdentity(claims);
  } catch {
    const parts = typeof claims.sub === 'string' ? claims.sub.split(':') : [];
    return parts.length === 4 && parts[2] && parts[3]
      ? { namespace: parts[2], serviceAccount: parts[3] }
      : {};
  }
}

function boundIdentity(claims: Record<string, unknown>): TokenIdentity {
  const kubernetes = claims['kubernetes.io'];
  if (!isRecord(kubernetes)) throw invalid('it has no kubernetes.io claim');
  const { namespace, serviceaccount, pod } = kubernetes;
  if (typeof namespace !== 'string') throw invalid('it names no namespace');
  if (!isBound(serviceaccount)) throw invalid('it names no service account');
  if (!isBound(pod)) throw invalid('it is not bound to a pod');
  if (claims.sub !== `system:serviceaccount:${namespace}:${serviceaccount.name}`) {
    throw invalid('its claims disagree');
  }
  return {
    namespace,
    serviceAccount: serviceaccount.name,
    serviceAccountUid: serviceaccount.uid,
    pod: pod.name,
    podUid: pod.uid,
    tokenId: typeof claims.jti === 'string' ? claims.jti : '',
  };
}

function isBound(value: unknown): value is BoundObject {
  return isRecord(value) && typeof value.name === 'string' && typeof value.uid === 'string';
}

function invalid(reason: string) {
  return modelled('InvalidTokenException', `The service account token is not valid: ${reason}.`);
}
