import type { DurationMs } from '../clock.ts';

/**
 * What a failed call says about the session that it was made for:
 *
 * - `throttled`: the account's call rate is too high.
 * - `service`: a fault of the service.
 * - `network`: no answer: connection, TLS, proxy or time-out.
 * - `node-credentials`: the node's own AWS credentials, or its clock.
 * - `refused`: no association, or its role may not be assumed.
 * - `token`: this service account token is spent; another of the session may still work.
 * - `request`: a defect of ours, or of how we were set up where there is no `status`: EKS Auth
 *   never saw such a call.
 * - `malformed`: an answer that cannot be read, or that lacks something.
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

/** A failed call as a plain object, fit to cross worker threads. Holds no token or secret. */
export interface AssumeRoleFailure {
  readonly kind: AssumeRoleFailureKind;
  /** The service's error code (`ThrottlingException`), or the connection's (`ECONNREFUSED`). */
  readonly code: string;
  /** At most 512 characters, without control characters. */
  readonly message: string;
  /** HTTP status; absent where there was no answer. */
  readonly status?: number;
  /** The service's id of the call. */
  readonly requestId?: string;
  /** How long the service asks to wait. */
  readonly retryAfterMs?: DurationMs;
  /** The node's clock is off; the next call is signed by the service's time. */
  readonly clockSkew?: boolean;
}

/** An answer with status 200 that lacks a field, or has one that cannot be used. */
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

/** The node's own AWS credentials cannot be had. */
export class NodeCredentialsError extends Error {
  override readonly name = 'NodeCredentialsError';
  readonly code = 'ERR_NODE_CREDENTIALS';
}

/** No source of the SDK's credential chain had credentials, or none answered in time. */
export class CredentialChainError extends Error {
  override readonly name = 'CredentialChainError';
  readonly code = 'ERR_CREDENTIAL_CHAIN';
}
