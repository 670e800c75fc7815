import type { EpochMs } from '../clock.ts';
import type { SessionScope } from '../config/config.ts';
import type { Session, SessionState } from './session.ts';

/** A session as `status` shows it, without tokens and secrets. */
export interface SessionStatus {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly scope: SessionScope;
  readonly state: SessionState;
  /** Undefined, like the members below: the session holds no credentials. */
  readonly assumedRoleArn?: string | undefined;
  readonly accessKeyId?: string | undefined;
  readonly associationId?: string | undefined;
  /** Pods that were given the current credentials. */
  readonly pods: number;
  /** Requests answered with credentials. */
  readonly served: number;
  /** Additional calls to EKS Auth that token scope would have made. */
  readonly callsSaved: number;
  readonly fetchedAt?: string | undefined;
  readonly expiresAt?: string | undefined;
  readonly renewsAt?: string | undefined;
  /**
   * Why the latest fetch failed, or why the one that is under way has no result yet; undefined:
   * nothing has failed.
   */
  readonly lastError?:
    | { readonly code: string; readonly message: string; readonly requestId: string | undefined }
    | undefined;
}

/** Describes a session. */
export function sessionStatus(session: Session, now: EpochMs): SessionStatus {
  const { credentials, usage } = session;
  const failure = session.fetch?.flight.reason ?? session.lastFailure;
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
    lastError: failure && {
      code: failure.code,
      message: failure.message,
      requestId: failure.requestId,
    },
  };
}

function date(time: EpochMs | undefined): string | undefined {
  return time === undefined ? undefined : new Date(time).toISOString();
}
