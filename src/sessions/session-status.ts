import type { EpochMs } from '../clock.ts';
import type { SessionScope } from '../config/config.ts';
import type { Session, SessionState } from './session.ts';

/** A session as the operator sees it. Holds no token and no secret. */
export interface SessionStatus {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly scope: SessionScope;
  readonly state: SessionState;
  /** Undefined members: it holds no credentials. */
  readonly assumedRoleArn?: string | undefined;
  readonly accessKeyId?: string | undefined;
  readonly associationId?: string | undefined;
  /** Pods that were handed the credentials that it holds now. */
  readonly pods: number;
  /** Answers with credentials so far. */
  readonly served: number;
  /** Calls to EKS Auth that token scope would have made beside its own. */
  readonly callsSaved: number;
  readonly fetchedAt?: string | undefined;
  readonly expiresAt?: string | undefined;
  readonly renewsAt?: string | undefined;
  /** What the latest fetch failed with, if it failed. */
  readonly lastError?:
    | { readonly code: string; readonly message: string; readonly requestId: string | undefined }
    | undefined;
}

/** Describes a session. */
export function sessionStatus(session: Session, now: EpochMs): SessionStatus {
  const { credentials, lastFailure, usage } = session;
  return {
    namespace: session.namespace,
    serviceAccount: session.serviceAccount,
    scope: session.scope,
    state: session.state(now),
    assumedRoleArn: credentials?.assumedRoleArn,
    accessKeyId: credentials?.accessKeyId,
    associationId: credentials?.associationId,
    pods: credentials?.handedTo.size ?? 0,
    served: usage.served,
    callsSaved: usage.saved,
    fetchedAt: date(credentials?.fetchedAt),
    expiresAt: date(credentials?.expiresAt),
    renewsAt: credentials === undefined ? undefined : date(session.renewAt),
    lastError: lastFailure && {
      code: lastFailure.code,
      message: lastFailure.message,
      requestId: lastFailure.requestId,
    },
  };
}

function date(time: EpochMs | undefined): string | undefined {
  return time === undefined ? undefined : new Date(time).toISOString();
}
