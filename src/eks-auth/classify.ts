import type { DurationMs, EpochMs } from '../clock.ts';
import { scrub } from '../telemetry/scrub.ts';
import type { AssumeRoleFailure, AssumeRoleFailureKind } from './failure.ts';

/** The errors of the service's model, by code (API version 2023-11-26). */
const MODELLED: ReadonlyMap<string, AssumeRoleFailureKind> = new Map([
  ['ThrottlingException', 'throttled'],
  ['InvalidRequestException', 'request'],
  ['InvalidParameterException', 'request'],
  ['InvalidTokenException', 'token'],
  ['ExpiredTokenException', 'token'],
  ['AccessDeniedException', 'refused'],
  ['ResourceNotFoundException', 'refused'],
  ['InternalServerException', 'service'],
  ['ServiceUnavailableException', 'service'],
]);

/** Errors of AWS's front end about the node's clock. */
const SKEW: ReadonlySet<string> = new Set([
  'RequestExpired',
  'RequestExpiredException',
  'RequestInTheFuture',
  'RequestTimeTooSkewed',
  'RequestTimeTooSkewedException',
]);

/** Errors of AWS's front end about the node's credentials, with any status. */
const NODE_CREDENTIALS: ReadonlySet<string> = new Set([
  'AuthFailure',
  'IncompleteSignature',
  'IncompleteSignatureException',
  'InvalidClientTokenId',
  'InvalidSignatureException',
  'MissingAuthenticationToken',
  'MissingAuthenticationTokenException',
  'SignatureDoesNotMatch',
  'SignatureDoesNotMatchException',
  'UnrecognizedClientException',
]);

/** Throttling errors of AWS's front end (`@smithy/core/retry` has the same names). */
const THROTTLED: ReadonlySet<string> = new Set([
  'RequestLimitExceeded',
  'RequestThrottled',
  'RequestThrottledException',
  'SlowDown',
  'ThrottledException',
  'Throttling',
  'TooManyRequestsException',
]);

/** "Signature expired: …", "Signature not yet current: …" */
const SKEW_MESSAGE = /signature (?:expired|not yet current)/i;

/** IAM's message if the calling node lacks a permission, as opposed to the pod's role. */
const CALLER_DENIED = /not authorized to perform: eks-auth:/i;

/**
 * Describes the error of a call to EKS Auth as a plain object. The meaning of each error is from the
 * service's model and, for errors of AWS's front end, from the documentation of Signature Version 4.
 *
 * @param error - Anything that `client.send`, or a check of its answer, threw.
 */
export function classify(error: unknown): AssumeRoleFailure {
  const thrown = fields(error);
  switch (thrown.name) {
    case 'MalformedAnswerError':
      return failure('malformed', 'MalformedAnswer', thrown.message, {
        status: 200,
        requestId: text(thrown.requestId),
      });
    case 'NodeCredentialsError':
    case 'CredentialsProviderError':
    case 'TokenProviderError':
    case 'ProviderError':
      return failure('node-credentials', thrown.name, thrown.message);
  }
  const status = fields(thrown.$metadata).httpStatusCode;
  if (typeof status === 'number') return ofAnswer(thrown, status);
  if (thrown.name === 'ExchangeTooLargeError') {
    const answered = typeof thrown.status === 'number' ? thrown.status : undefined;
    const kind = answered !== undefined && answered >= 500 ? 'service' : 'malformed';
    return failure(kind, 'AnswerTooLarge', thrown.message, { status: answered });
  }
  if (/^Resolved credential object is not valid/.test(String(thrown.message))) {
    return failure('node-credentials', 'InvalidNodeCredentials', thrown.message);
  }
  return ofConnection(thrown);
}

/**
 * Whether a failure is an answer of EKS Auth itself, and not of a proxy in between: then its `Date`
 * is the service's time. This also holds for errors about clock skew.
 */
export function isOfService({ code, status, clockSkew }: AssumeRoleFailure): boolean {
  return status !== undefined && (clockSkew === true || MODELLED.has(code));
}

interface Thrown {
  readonly [field: string]: unknown;
}

/** The fields of a thrown value, which may be anything. */
function fields(value: unknown): Thrown {
  if (typeof value === 'object' && value !== null) return value as Thrown;
  return { name: 'Error', message: value === undefined ? '' : String(value) };
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function ofAnswer(thrown: Thrown, status: number): AssumeRoleFailure {
  const headers = fields(fields(thrown.$response).headers);
  const details = {
    status,
    requestId: text(fields(thrown.$metadata).requestId),
    retryAfterMs: retryAfter(headers),
  };
  // An error with a code has `$fault`; an answer that could not be parsed has none.
  const code = thrown.$fault === undefined ? undefined : text(thrown.name);
  if (code === undefined) {
    // The parser's message would quote the body.
    return failure(byStatus(status) ?? 'malformed', `Http${status}`, 'not an answer of EKS Auth', {
      ...details,
    });
  }
  const message = text(thrown.message) ?? '';
  const kind = byCode(code, message) ?? byStatus(status) ?? MODELLED.get(code) ?? 'request';
  const clockSkew = kind === 'node-credentials' && (SKEW.has(code) || SKEW_MESSAGE.test(message));
  return failure(kind, code, message, { ...details, ...(clockSkew && { clockSkew }) });
}

function byCode(code: string, message: string): AssumeRoleFailureKind | undefined {
  if (SKEW.has(code) || NODE_CREDENTIALS.has(code)) return 'node-credentials';
  if (THROTTLED.has(code)) return 'throttled';
  if (code === 'AccessDeniedException' && CALLER_DENIED.test(message)) return 'node-credentials';
  // "The security token included in the request is expired": the node's, not the pod's.
  if (MODELLED.get(code) === 'token' && /security token/i.test(message)) return 'node-credentials';
  return undefined;
}

function byStatus(status: number): AssumeRoleFailureKind | undefined {
  if (status === 403) return 'node-credentials';
  if (status === 429) return 'throttled';
  if (status >= 500) return 'service';
  return undefined;
}

function ofConnection(thrown: Thrown): AssumeRoleFailure {
  // If several addresses were tried, each has its own error.
  const first = Array.isArray(thrown.errors) ? fields(thrown.errors[0]) : undefined;
  const cause = fields(thrown.cause);
  const code = text(thrown.code) ?? text(first?.code) ?? text(cause.code);
  const message = text(thrown.message) || text(first?.message) || text(cause.message) || '';
  if (thrown.name === 'HTTPParserError') return failure('malformed', 'NotHttp', message);
  if (code !== undefined) return failure('network', code, message);
  if (thrown.name === 'AbortError' || thrown.name === 'TimeoutError') {
    return failure('network', thrown.name, message);
  }
  return failure('request', text(thrown.name) ?? 'Error', message);
}

type Details = {
  readonly [Field in 'status' | 'requestId' | 'retryAfterMs' | 'clockSkew']?:
    | AssumeRoleFailure[Field]
    | undefined;
};

function failure(
  kind: AssumeRoleFailureKind,
  code: string,
  message: unknown,
  { status, requestId, retryAfterMs, clockSkew }: Details = {},
): AssumeRoleFailure {
  return {
    kind,
    code: scrub(code).slice(0, 128) || 'Error',
    message: scrub(text(message) ?? ''),
    ...(status !== undefined && { status }),
    ...(requestId !== undefined && { requestId: scrub(requestId).slice(0, 128) }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...(clockSkew !== undefined && { clockSkew }),
  };
}

/** One hour: longer values are not taken seriously. */
const MAX_RETRY_AFTER: DurationMs = 3_600_000;

/** `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date by the service's clock. */
function retryAfter(headers: Thrown): DurationMs | undefined {
  const value = text(headers['retry-after'])?.trim();
  if (!value) return undefined;
  const delay = /^\d+$/.test(value)
    ? Number(value) * 1_000
    : httpDate(value) - httpDate(text(headers.date) ?? '');
  return Number.isNaN(delay) ? undefined : Math.min(Math.max(delay, 0), MAX_RETRY_AFTER);
}

function httpDate(value: string): EpochMs {
  // Date.parse would read "-1" as a year.
  return value.endsWith(' GMT') ? Date.parse(value) : Number.NaN;
}
