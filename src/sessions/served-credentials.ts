import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import type { RoleCredentials } from '../eks-auth/assume-role.ts';
import type { KeptCredentials } from '../session-store/session-store.ts';
import type { PodIdentity } from '../tokens/claims.ts';

/** The least time that credentials must still be good for to be served. */
export const MIN_TIME_LEFT: DurationMs = 15_000;

/** How much of their life is left, at the latest, when credentials of hours are renewed. */
const RENEWED_WITH_LEFT: DurationMs = 30 * 60_000;

/** Part of the time until renewal by which due times are spread. */
const SPREAD = 0.2;

/** Pods whose hand-over is remembered, so that each is audited once. */
const MAX_AUDITED = 10_000;

/** Credentials as they are served: the answer is put together once, when they arrive. */
export interface ServedCredentials {
  /** The body of the answer: JSON, ASCII only. */
  readonly body: string;
  readonly accessKeyId: string;
  readonly assumedRoleArn: string;
  readonly associationId: string;
  readonly fetchedAt: EpochMs;
  readonly expiresAt: EpochMs;
  /** From here on they are not served any more. */
  readonly servableUntil: EpochMs;
  /** From here on they are renewed, while they go on being served. */
  readonly renewAt: EpochMs;
  /** The pods that were handed them, by uid, with when the token of each expires. */
  readonly handedTo: Map<string, EpochMs>;
  readonly usage: SessionUsage;
  /** As a store keeps them, and a successor takes them over; undefined in tests alone. */
  readonly kept: KeptCredentials | undefined;
}

/** What a session has done for its pods, over all credentials that it has held. */
export interface SessionUsage {
  /** Answers with credentials. */
  served: number;
  /** Tokens that were given credentials that another token had fetched. */
  saved: number;
}

/** What the age of served credentials depends on. */
export interface RetentionRules {
  readonly clock: Clock;
  /** How old credentials get before they are renewed. */
  readonly maxCredentialRetention: DurationMs;
  /** A number from 0 to 1. */
  readonly random: () => number;
}

/**
 * Makes an answer of EKS Auth into what is served; with `kept` it is one that was fetched
 * earlier, or elsewhere.
 *
 * They are renewed at the age that the operator set, and in any case with half of their life
 * or half an hour left, whichever is less: botocore asks again on every call with 15 minutes
 * left. Due times are spread, so that what was fetched together is not renewed together.
 */
export function servedCredentials(
  role: RoleCredentials,
  rules: RetentionRules,
  usage: SessionUsage,
  kept?: KeptCredentials,
): ServedCredentials {
  const fetchedAt = kept?.fetchedAt ?? rules.clock.now();
  const life = Math.max(0, role.expiresAt - fetchedAt);
  const latest = life - Math.min(life / 2, RENEWED_WITH_LEFT);
  const due = Math.min(rules.maxCredentialRetention, latest) * (1 - SPREAD * rules.random());
  return {
    body: answerBody(role),
    accessKeyId: role.accessKeyId,
    assumedRoleArn: role.assumedRoleArn,
    associationId: role.associationId,
    fetchedAt,
    expiresAt: role.expiresAt,
    servableUntil: role.expiresAt - MIN_TIME_LEFT,
    renewAt: fetchedAt + due,
    handedTo: new Map(),
    usage,
    kept,
  };
}

/**
 * The answer that the SDKs' container credentials providers read.
 *
 * @see https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
 */
function answerBody(role: RoleCredentials): string {
  return JSON.stringify({
    AccessKeyId: role.accessKeyId,
    SecretAccessKey: role.secretAccessKey,
    Token: role.sessionToken,
    // arn:<partition>:sts::<account>:assumed-role/<role>/<session name>
    AccountId: role.assumedRoleArn.split(':')[4] ?? '',
    // RFC 3339 in whole seconds: some SDKs' parsers take no fractions.
    Expiration: new Date(role.expiresAt).toISOString().replace(/\.\d+Z$/, 'Z'),
  });
}

/** What serving credentials meant: anything new for the pod, and a call that was not needed? */
export interface ServedRecord {
  /** The pod has not had these credentials before. */
  readonly first: boolean;
  /** A token has them that another token fetched. */
  readonly saved: boolean;
}

/**
 * Records that a pod is served these credentials.
 *
 * @param pod - As its token says; a pod's tokens differ in when they expire.
 */
export function recordServed(
  credentials: ServedCredentials,
  { podUid, expiresAt }: Pick<PodIdentity, 'podUid' | 'expiresAt'>,
): ServedRecord {
  const { handedTo, usage } = credentials;
  const before = handedTo.get(podUid);
  if (before === expiresAt) return { first: false, saved: false };
  // The first of all is what the credentials were fetched for.
  const saved = handedTo.size > 0;
  if (saved) usage.saved += 1;
  // Rather a second line for one pod than memory without bound.
  if (handedTo.size >= MAX_AUDITED) handedTo.clear();
  handedTo.set(podUid, expiresAt);
  return { first: before === undefined, saved };
}
