import type { AssumeRoleFailure, AssumeRoleFailureKind } from '../eks-auth/failure.ts';

/**
 * Why a fetch gave no credentials: what EKS Auth answered or failed with, and beside that:
 *
 * - `mismatch`: credentials for another subject or audience, or expired ones; not served.
 * - `waiting`: the call was not made, its turn did not come in time.
 * - `no-token`: no live token is left to fetch with.
 * - `superseded`: a flush came between; the next fetch is the one that counts.
 */
export interface FetchFailure extends Omit<AssumeRoleFailure, 'kind'> {
  readonly kind: AssumeRoleFailureKind | 'mismatch' | 'waiting' | 'no-token' | 'superseded';
}

/** Whether a failure may pass by itself, so that the same call is worth trying again. */
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
