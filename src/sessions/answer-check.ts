import type { EpochMs } from '../clock.ts';
import type { RoleCredentials } from '../eks-auth/assume-role.ts';
import type { FetchFailure } from './failure.ts';
import { MIN_TIME_LEFT } from './served-credentials.ts';
import type { Session } from './session.ts';

/** Granted credentials that must not be served. */
export interface Mismatch {
  readonly failure: FetchFailure;
  /** What was expected and what was answered, for the log; holds no secret. */
  readonly fields: object;
}

/**
 * Checks granted credentials: they must be for this session's service account and for the audience,
 * and must not have expired.
 *
 * @returns What is wrong with them; undefined: nothing.
 */
export function mismatchOf(
  role: RoleCredentials,
  { namespace, serviceAccount }: Pick<Session, 'namespace' | 'serviceAccount'>,
  audience: string,
  now: EpochMs,
): Mismatch | undefined {
  const expected = `${namespace}/${serviceAccount}`;
  const answered = `${role.subject.namespace}/${role.subject.serviceAccount}`;
  let message: string | undefined;
  if (answered !== expected) message = 'EKS Auth answered for another service account';
  else if (role.audience !== audience) message = 'EKS Auth answered for another audience';
  else if (role.expiresAt <= now + MIN_TIME_LEFT) {
    message = 'EKS Auth answered credentials that have expired, or are about to';
  }
  if (message === undefined) return undefined;
  const { requestId } = role;
  return {
    failure: { kind: 'mismatch', code: 'UnexpectedAnswer', message, requestId },
    fields: {
      expected: { subject: expected, audience },
      answered: { subject: answered, audience: role.audience, expiresAt: role.expiresAt },
      requestId,
    },
  };
}
