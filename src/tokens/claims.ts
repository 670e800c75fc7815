import type { DurationMs, EpochMs } from '../clock.ts';

/** The pod that a service account token speaks for, as its claims say. */
export interface PodIdentity {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly serviceAccountUid: string;
  readonly pod: string;
  readonly podUid: string;
  /** Undefined before Kubernetes 1.30, whose tokens name no node. */
  readonly node: string | undefined;
  readonly issuer: string;
  /** Start and end of the token's validity, without tolerance. */
  readonly notBefore: EpochMs;
  readonly expiresAt: EpochMs;
}

/** What a token has to say to be of use on this node. */
export interface ClaimExpectations {
  readonly audience: string;
  /** Undefined: any node's tokens. */
  readonly nodeName: string | undefined;
}

/** By how much a clock may differ from the issuer's: on `exp` and `nbf`, in both directions. */
export const CLOCK_TOLERANCE: DurationMs = 60_000;

/** A token that no key could make acceptable; `message` says why and never quotes the token. */
export class UnfitTokenError extends Error {
  override readonly name = 'UnfitTokenError';
  readonly code = 'ERR_UNFIT_TOKEN';
}

/** Name of a Kubernetes object: an RFC 1123 subdomain (labels are subdomains too). */
const OBJECT_NAME = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;
/** Kubernetes gives UUIDs; static pods' are hashes. Nothing that could end a key or a line. */
const UID = /^[A-Za-z0-9-]{1,64}$/;

/**
 * Reads the claims of a projected service account token, and checks all that can be checked
 * without a key: audience, times, and that the `kubernetes.io` claims are whole and agree
 * with `sub`.
 *
 * @param claims - The decoded payload; nothing about it is trusted.
 * @param expected - What the token has to say.
 * @param now - The time to judge `exp` and `nbf` by, with {@link CLOCK_TOLERANCE}.
 * @throws UnfitTokenError naming the first claim that is missing or wrong.
 * @see https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
 */
export function readClaims(
  claims: Readonly<Record<string, unknown>>,
  expected: ClaimExpectations,
  now: EpochMs,
): PodIdentity {
  const audiences = typeof claims.aud === 'string' ? [claims.aud] : claims.aud;
  if (!Array.isArray(audiences) || !audiences.includes(expected.audience)) {
    throw new UnfitTokenError(`its audience (aud) is not ${expected.audience}`);
  }
  const expiresAt = time(claims, 'exp');
  if (expiresAt === undefined) throw new UnfitTokenError('it has no expiry (exp)');
  if (now >= expiresAt + CLOCK_TOLERANCE) throw new UnfitTokenError('it has expired (exp)');
  const notBefore = time(claims, 'nbf') ?? 0;
  if (now < notBefore - CLOCK_TOLERANCE) throw new UnfitTokenError('it is not valid yet (nbf)');
  if (typeof claims.iss !== 'string' || claims.iss === '') {
    throw new UnfitTokenError('it names no issuer (iss)');
  }

  const kubernetes = record(claims, 'kubernetes.io', 'kubernetes.io');
  const account = record(kubernetes, 'serviceaccount', 'kubernetes.io.serviceaccount');
  const pod = record(kubernetes, 'pod', 'kubernetes.io.pod');
  const namespace = text(kubernetes, 'namespace', 'kubernetes.io.namespace', OBJECT_NAME);
  const serviceAccount = text(account, 'name', 'kubernetes.io.serviceaccount.name', OBJECT_NAME);
  if (claims.sub !== `system:serviceaccount:${namespace}:${serviceAccount}`) {
    throw new UnfitTokenError('its subject (sub) is not the service account of kubernetes.io');
  }
  const node =
    kubernetes.node === undefined
      ? undefined
      : text(
          record(kubernetes, 'node', 'kubernetes.io.node'),
          'name',
          'kubernetes.io.node.name',
          OBJECT_NAME,
        );
  if (node !== undefined && expected.nodeName !== undefined && node !== expected.nodeName) {
    throw new UnfitTokenError('it belongs to a pod of another node (kubernetes.io.node)');
  }
  return {
    namespace,
    serviceAccount,
    serviceAccountUid: text(account, 'uid', 'kubernetes.io.serviceaccount.uid', UID),
    pod: text(pod, 'name', 'kubernetes.io.pod.name', OBJECT_NAME),
    podUid: text(pod, 'uid', 'kubernetes.io.pod.uid', UID),
    node,
    issuer: claims.iss,
    notBefore,
    expiresAt,
  };
}

/** A NumericDate (RFC 7519, section 2) as milliseconds. */
function time(claims: Readonly<Record<string, unknown>>, name: string): EpochMs | undefined {
  const seconds = claims[name];
  if (seconds === undefined) return undefined;
  if (typeof seconds !== 'number' || !Number.isFinite(seconds)) {
    throw new UnfitTokenError(`its ${name} is not a number`);
  }
  return seconds * 1_000;
}

function record(
  holder: Readonly<Record<string, unknown>>,
  name: string,
  path: string,
): Readonly<Record<string, unknown>> {
  const value = holder[name];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UnfitTokenError(`it has no claim ${path}`);
  }
  return value as Readonly<Record<string, unknown>>;
}

function text(
  holder: Readonly<Record<string, unknown>>,
  name: string,
  path: string,
  form: RegExp,
): string {
  const value = holder[name];
  if (value === undefined) throw new UnfitTokenError(`it has no claim ${path}`);
  if (typeof value !== 'string' || !form.test(value)) {
    throw new UnfitTokenError(`its claim ${path} is not of the form that Kubernetes gives it`);
  }
  return value;
}
