import type { DurationMs } from '../clock.ts';

/**
 * Why a call failed:
 *
 * - `throttled`: the account's call rate is too high.
 * - `service`: an error of the service.
 * - `network`: no answer, because of the connection, TLS, a proxy or a time-out.
 * - `node-credentials`: the node's own AWS credentials or its clock.
 * - `refused`: there is no association, or its role may not be assumed.
 * - `token`: this service account token is invalid or expired; another one may work.
 * - `request`: the request is wrong; without `status` it was never sent, because of a defect or the
 *   configuration.
 * - `malformed`: an answer that cannot be parsed, or is incomplete.
 */
export type AssumeRoleFailureKind =
  | 'throttled'
  | 'service'
  | 'network'
  | 'node-credentials'
  | 'refused'
  | 'token'
  | 'request'
  | 'malformed';

/** A failed call as a plain object that can cross threads. Holds no token or secret. */
export interface AssumeRoleFailure {
  readonly kind: AssumeRoleFailureKind;
  /** The service's error code (`ThrottlingException`), or the connection's (`ECONNREFUSED`). */
  readonly code: string;
  /** At most 512 characters, without control characters. */
  readonly message: string;
  /** HTTP status; absent if there was no answer. */
  readonly status?: number;
  /** The service's id of the call. */
  readonly requestId?: string;
  /** How long to wait before a retry, as the service says (`Retry-After`). */
  readonly retryAfterMs?: DurationMs;
  /** The node's clock is off; the next call is signed by the service's time. */
  readonly clockSkew?: boolean;
  /** It was signed with credentials that the node has replaced since; the next call has others. */
  readonly credentialsReplaced?: boolean;
}

/** An answer with status 200 in which a field is missing or unusable. */
export class MalformedAnswerError extends Error {
  override readonly name = 'MalformedAnswerError';
  readonly code = 'ERR_MALFORMED_ANSWER';
  /** Path of the field, e.g. `credentials.accessKeyId`. */
  readonly field: string;
  readonly requestId: string | undefined;

  constructor(field: string, problem: string, requestId: string | undefined) {
    super(`answer of EKS Auth: ${field} ${problem}`);
    this.field = field;
    this.requestId = requestId;
  }
}

/** The node has no AWS credentials. */
export class NodeCredentialsError extends Error {
  override readonly name = 'NodeCredentialsError';
  readonly code = 'ERR_NODE_CREDENTIALS';
}

/** No source of the SDK's credential chain had credentials, or none answered in time. */
export class CredentialChainError extends Error {
  override readonly name = 'CredentialChainError';
  readonly code = 'ERR_CREDENTIAL_CHAIN';
}
