import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import type { RoleCredentials } from '../eks-auth/assume-role.ts';
import type { KeptCredentials } from '../session-store/session-store.ts';
import type { PodIdentity } from '../tokens/claims.ts';

/** Credentials that expire sooner than this are not served. */
export const MIN_TIME_LEFT: DurationMs = 15_000;

/** Credentials are renewed at the latest with this much of their lifetime left. */
const MIN_LIFE_AT_RENEWAL: DurationMs = 30 * 60_000;

/** Fraction of the time until renewal by which renewals are spread. */
const SPREAD = 0.2;

/** Pods remembered per credentials, so that each is audited once. */
const MAX_AUDITED = 10_000;

/** Credentials as they are served. The response body is built once, when they arrive. */
export interface ServedCredentials {
  /** The response body: JSON, ASCII only. */
  readonly body: string;
  readonly accessKeyId: string;
  readonly assumedRoleArn: string;
  readonly associationId: string;
  readonly fetchedAt: EpochMs;
  readonly expiresAt: EpochMs;
  /** From this time on they are not served. */
  readonly servableUntil: EpochMs;
  /** From this time on they are due for renewal; they are still served. */
  readonly renewAt: EpochMs;
  /** The pods that were given them, by uid, and when each pod's token expires. */
  readonly handedTo: Map<string, EpochMs>;
  readonly usage: SessionUsage;
  /** As a store keeps them, and a successor takes them over; undefined only in tests. */
  readonly kept: KeptCredentials | undefined;
}

/** Counts of a session, over all credentials that it has held. */
export interface SessionUsage {
  /** Requests answered with credentials. */
  served: number;
  /** Tokens that were given credentials fetched with another token. */
  saved: number;
}

/** What decides when credentials are renewed. */
export interface RetentionRules {
  readonly clock: Clock;
  /** The age at which credentials are renewed. */
  readonly maxCredentialRetention: DurationMs;
  /** A number from 0 to 1. */
  readonly random: () => number;
}

/**
 * Builds what is served from an answer of EKS Auth.
 *
 * Credentials are renewed at the age that the operator has set, and at the latest when half of
 * their lifetime or half an hour is left, whichever is less: with 15 minutes left botocore requests
 * new ones on every call. Renewals are spread, so that credentials fetched together are not renewed
 * together.
 *
 * @param kept - Set if the credentials were fetched earlier, or by another broker.
 */
export function servedCredentials(
  role: RoleCredentials,
  rules: RetentionRules,
  usage: SessionUsage,
  kept?: KeptCredentials,
): ServedCredentials {
  const fetchedAt = kept?.fetchedAt ?? rules.clock.now();
  const life = Math.max(0, role.expiresAt - fetchedAt);
  const latest = life - Math.min(life / 2, MIN_LIFE_AT_RENEWAL);
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

/** What {@link recordServed} has found. */
export interface ServedRecord {
  /** The pod was given these credentials for the first time. */
  readonly first: boolean;
  /** They were fetched with another token: a call was saved. */
  readonly saved: boolean;
}

/**
 * Records that a pod is served these credentials.
 *
 * @param pod - From its token; tokens of one pod are told apart by their expiry.
 */
export function recordServed(
  credentials: ServedCredentials,
  { podUid, expiresAt }: Pick<PodIdentity, 'podUid' | 'expiresAt'>,
): ServedRecord {
  const { handedTo, usage } = credentials;
  const before = handedTo.get(podUid);
  if (before === expiresAt) return { first: false, saved: false };
  // The first pod is the one that the credentials were fetched for.
  const saved = handedTo.size > 0;
  if (saved) usage.saved += 1;
  // A second audit line for a pod is better than unbounded memory.
  if (handedTo.size >= MAX_AUDITED) handedTo.clear();
  handedTo.set(podUid, expiresAt);
  return { first: before === undefined, saved };
}
