import { decodeJwt, decodeProtectedHeader } from 'jose';
import type { Clock } from '../clock.ts';
import { formatDuration } from '../config/duration.ts';
import type { Identified, Identity, Preview } from '../identity/identity.ts';
import type { KeyRing } from '../identity/key-ring.ts';
import type { PodGate } from '../identity/pod-gate.ts';
import { scrub } from '../telemetry/scrub.ts';
import {
  type ClaimExpectations,
  type PodIdentity,
  readClaims,
  UnfitTokenError,
} from '../tokens/claims.ts';
import type { RoleSessions } from './role-sessions.ts';
import type { Session } from './session.ts';
import { type ScopeRules, scopeOf, tokenSessionKey } from './session-key.ts';

/** One check that the broker makes, in its order. */
export interface ExplainedStep {
  readonly step:
    | 'header'
    | 'claims'
    | 'issuer'
    | 'key'
    | 'signature'
    | 'pod'
    | 'session'
    | 'answer';
  /** `false`: this is why the token gets no credentials. */
  readonly ok: boolean;
  readonly detail: string;
}

/** What the broker would do with a token, and why. Contains only names from the token. */
export interface Explanation {
  readonly steps: readonly ExplainedStep[];
  /** Whether the pod would get credentials, as far as is known without asking EKS Auth. */
  readonly served: boolean;
}

/** What {@link explainToken} reads. */
export interface ExplainOptions {
  readonly clock: Clock;
  readonly identity: Pick<Identity, 'preview'>;
  readonly keyRing: Pick<KeyRing, 'issuer' | 'keys' | 'proven' | 'confirmedAt'>;
  readonly sessions: Pick<RoleSessions, 'find'>;
  readonly scopeRules: ScopeRules;
  readonly expected: ClaimExpectations;
  /** Set if pods are watched. */
  readonly podGate?: Pick<PodGate, 'describe'> | undefined;
}

/** The longest text from a token that is quoted, in characters. */
const MAX_QUOTED = 100;

/**
 * Explains step by step what the broker would do with a token. Changes nothing: nothing is cached,
 * counted or fetched, and EKS Auth is not called.
 */
export async function explainToken(token: string, options: ExplainOptions): Promise<Explanation> {
  const preview = await options.identity.preview(token);
  const steps = [
    ...unfitSteps(token, preview, options),
    ...proofSteps(preview, options),
    ...podSteps(preview, options),
    ...sessionSteps(token, preview, options),
  ];
  return { steps, served: steps.every(({ ok }) => ok) };
}

/** Format, header and claims: what can be checked without a key. */
function unfitSteps(token: string, { verdict }: Preview, options: ExplainOptions): ExplainedStep[] {
  const { expected, clock } = options;
  const fault = verdict.verdict === 'unfit' ? verdict.reason : undefined;
  const claimsFault = fault !== undefined && claimsProblem(token, options) === fault;
  if (fault !== undefined && !claimsFault) return [{ step: 'header', ok: false, detail: fault }];
  const header: ExplainedStep = { step: 'header', ok: true, detail: describeHeader(token) };
  if (verdict.verdict === 'unfit') {
    return [header, { step: 'claims', ok: false, detail: verdict.reason }];
  }
  const { pod } = verdict;
  const left = formatDuration(
    Math.max(0, Math.round((pod.expiresAt - clock.now()) / 1_000)) * 1_000,
  );
  const node = pod.node === undefined ? '' : ` on node ${pod.node}`;
  const detail = `pod ${pod.namespace}/${pod.pod}${node}, service account ${pod.serviceAccount}, audience ${expected.audience}, expires in ${left}`;
  return [header, { step: 'claims', ok: true, detail }];
}

function describeHeader(token: string): string {
  const { alg, kid } = decodeProtectedHeader(token);
  return kid === undefined ? `${alg}, names no key` : `${alg}, key ${quoted(String(kid))}`;
}

function claimsProblem(token: string, { expected, clock }: ExplainOptions): string | undefined {
  try {
    readClaims(decodeJwt(token), expected, clock.now());
    return undefined;
  } catch (error) {
    return error instanceof UnfitTokenError ? error.message : undefined;
  }
}

/** Issuer, key and signature: what proves the claims. */
function proofSteps(
  { verdict, who, remembered }: Preview,
  { keyRing, clock }: ExplainOptions,
): ExplainedStep[] {
  if (verdict.verdict === 'unfit') return [];
  const { issuer, confirmedAt } = keyRing;
  const named = quoted(verdict.pod.issuer);
  // While the keys may be the wrong ones, a token that they do not verify is not refused.
  const ok = who.kind !== 'refused' && who.kind !== 'unavailable';
  const cause = verdict.verdict === 'unproven' ? verdict.cause : undefined;
  const issuerStep: ExplainedStep = {
    step: 'issuer',
    ok: ok || cause !== 'other-issuer',
    detail: describeIssuer(named, issuer, cause === 'other-issuer'),
  };
  if (keyRing.keys === undefined) {
    return [issuerStep, { step: 'key', ok: true, detail: 'there are no keys to verify under' }];
  }
  if (cause === 'other-issuer') return [issuerStep];
  const age = formatDuration(Math.round((clock.now() - (confirmedAt ?? 0)) / 1_000) * 1_000);
  const proven = keyRing.proven
    ? 'tokens have verified under it'
    : 'none has verified under it yet';
  const published = keyRing.keys.jwks.keys.map(({ kid }) => kid ?? 'unnamed').join(', ');
  const keyStep: ExplainedStep = {
    step: 'key',
    ok: ok || cause !== 'unknown-key',
    detail: `${cause === 'unknown-key' ? 'not in' : 'in'} the issuer's set (${published}), confirmed ${age} ago; ${proven}`,
  };
  if (cause === 'unknown-key') return [issuerStep, keyStep];
  const verified = remembered ? 'verified before' : 'verifies';
  return [
    issuerStep,
    keyStep,
    {
      step: 'signature',
      ok: ok || cause !== 'bad-signature',
      detail: cause === undefined ? verified : 'does not verify',
    },
  ];
}

function describeIssuer(named: string, issuer: string | undefined, other: boolean): string {
  if (issuer === undefined) return `${named}; the issuer of this cluster is not known yet`;
  return other ? `${named}, but this cluster's is ${issuer}` : named;
}

/** Whether the token's pod is on the node. */
function podSteps({ who }: Preview, { podGate }: ExplainOptions): ExplainedStep[] {
  if (podGate === undefined || who.kind === 'refused' || who.kind === 'unavailable') return [];
  return [{ step: 'pod', ...podGate.describe(podOf(who)) }];
}

function podOf(who: Extract<Identified, { kind: 'verified' | 'unverified' }>): PodIdentity {
  return who.kind === 'verified' ? who.verified.pod : who.pod;
}

/** The session of the token, and the answer. */
function sessionSteps(token: string, preview: Preview, options: ExplainOptions): ExplainedStep[] {
  const { who } = preview;
  if (who.kind === 'refused') {
    return [{ step: 'answer', ok: false, detail: `400: ${who.reason}` }];
  }
  if (who.kind === 'unavailable') {
    return [{ step: 'answer', ok: false, detail: `503: ${who.reason}` }];
  }
  const { sessions, scopeRules, clock } = options;
  const verified = who.kind === 'verified';
  const pod = podOf(who);
  const key = verified ? who.verified.sessionKey : tokenSessionKey(token);
  const scope = verified ? scopeOf(pod, scopeRules) : 'token';
  const session = sessions.find(key);
  const why = verified ? '' : `, because the token cannot be verified here (${who.cause})`;
  const found = session === undefined ? 'not there' : session.state(clock.now());
  return [
    { step: 'session', ok: true, detail: `scope ${scope}${why}; key ${key}; ${found}` },
    answerStep(session, token, verified, clock),
  ];
}

function answerStep(
  session: Session | undefined,
  token: string,
  verified: boolean,
  clock: Clock,
): ExplainedStep {
  const judge = verified ? '' : ', which judges the token; such calls are few';
  if (session === undefined) {
    return { step: 'answer', ok: true, detail: `asks EKS Auth${judge}` };
  }
  const now = clock.now();
  const { credentials, lastFailure, fetch, refusals } = session;
  if (credentials !== undefined && now < credentials.servableUntil) {
    const left = formatDuration(Math.round((credentials.expiresAt - now) / 1_000) * 1_000);
    const trouble =
      lastFailure === undefined ? '' : `; its renewal fails: ${describeFailure(lastFailure)}`;
    return {
      step: 'answer',
      ok: true,
      detail: `200 with the session's credentials: ${credentials.assumedRoleArn}, good for ${left}${trouble}`,
    };
  }
  if (fetch !== undefined) {
    const { reason } = fetch.flight;
    const waits = 'waits for the fetch that is under way';
    if (reason === undefined) return { step: 'answer', ok: true, detail: waits };
    return {
      step: 'answer',
      ok: false,
      detail: `${waits}; 503 unless that succeeds soon: so far ${describeFailure(reason)}`,
    };
  }
  const refusal = refusals.active(token, clock.elapsed());
  if (refusal !== undefined) {
    return {
      step: 'answer',
      ok: false,
      detail: `EKS Auth has just refused it: ${describeFailure(refusal)}`,
    };
  }
  if (lastFailure === undefined) {
    return { step: 'answer', ok: true, detail: `asks EKS Auth${judge}` };
  }
  return {
    step: 'answer',
    ok: false,
    detail: `asks EKS Auth again${judge}; the latest answer was ${describeFailure(lastFailure)}`,
  };
}

function describeFailure({
  code,
  message,
}: {
  readonly code: string;
  readonly message: string;
}): string {
  return `${code}: ${message}`;
}

/** Text from a token, made safe to show. */
function quoted(text: string): string {
  const clean = scrub(text);
  return clean.length > MAX_QUOTED ? `${clean.slice(0, MAX_QUOTED - 1)}…` : clean;
}
