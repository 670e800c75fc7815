import type { RoleCredentials } from '../eks-auth/assume-role.ts';
import type { CallResult } from './call-pace.ts';
import type { FetchFailure } from './failure.ts';
import type { Session } from './session.ts';

/** Tells from the outcomes of calls whether EKS Auth works. */
export class CallResults {
  /** A session that got a wrong answer, since the last correct answer for any session. */
  #mismatched: string | undefined;
  /** Whether another one has got one, too. */
  #several = false;

  /** What the outcome of a call for a session says about the service; undefined: nothing. */
  of(
    { key }: Pick<Session, 'key'>,
    outcome: RoleCredentials | FetchFailure,
  ): CallResult | undefined {
    if (!('kind' in outcome)) {
      this.#mismatched = undefined;
      this.#several = false;
      return 'answered';
    }
    if (outcome.kind !== 'mismatch') return resultOf(outcome);
    // Wrong answers for one session are that session's problem; for several, the service's.
    this.#mismatched ??= key;
    this.#several ||= this.#mismatched !== key;
    return this.#several ? 'failed' : 'answered';
  }
}

function resultOf({ kind, status, credentialsReplaced }: FetchFailure): CallResult | undefined {
  switch (kind) {
    // Without a status the request never reached EKS Auth, and the next one will not either.
    case 'request':
      return status === undefined ? 'failed' : 'answered';
    case 'throttled':
      return 'throttled';
    case 'service':
    case 'network':
      return 'failed';
    case 'node-credentials':
      return credentialsReplaced === true ? undefined : 'failed';
    // An unreadable answer says nothing about the session, but something is wrong with the service.
    case 'malformed':
      return 'failed';
    // An answer about one session, good or bad, means that the service works.
    default:
      return 'answered';
  }
}
