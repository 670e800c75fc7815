import type { AssumeRoleFailure, AssumeRoleFailureKind } from '../eks-auth/failure.ts';

/**
 * Why a fetch gave no credentials: a failed call to EKS Auth, or one of these:
 *
 * - `mismatch`: credentials for another subject or audience, or expired ones; not served.
 * - `waiting`: the call was not made, because its turn did not come in time.
 * - `no-token`: there is no valid token left to fetch with.
 * - `superseded`: the session was flushed during the fetch; the next fetch counts.
 */
export interface FetchFailure extends Omit<AssumeRoleFailure, 'kind'> {
  readonly kind: AssumeRoleFailureKind | 'mismatch' | 'waiting' | 'no-token' | 'superseded';
}

/** Whether the failure is transient: the same call may succeed when it is retried. */
export function isTransient(failure: FetchFailure): boolean {
  switch (failure.kind) {
    case 'throttled':
    case 'service':
    case 'network':
    case 'node-credentials':
    case 'malformed':
    case 'mismatch':
      return true;
    default:
      return false;
  }
}

/** Whether EKS Auth has answered, and its answer is about the token: another call would get it too. */
export function isOfToken({ kind, status }: FetchFailure): boolean {
  return kind === 'refused' || kind === 'token' || (kind === 'request' && status !== undefined);
}

/**
 * Whether another call with the same token would fail in the same way: it was refused, is invalid
 * or expired, or EKS Auth considers the request wrong.
 */
export function isRemembered({ kind }: FetchFailure): boolean {
  return kind === 'refused' || kind === 'token' || kind === 'request';
}
