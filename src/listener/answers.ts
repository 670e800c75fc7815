import type { DurationMs } from '../clock.ts';
import type { Answer } from '../sessions/credential-requests.ts';
import type { FetchFailure } from '../sessions/failure.ts';

/** An answer without credentials. */
export interface ErrorAnswer {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly retryAfter?: DurationMs;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers that need nothing but the request line and the Host header to be known. */
export const NOT_FOUND: ErrorAnswer = {
  status: 404,
  code: 'NotFound',
  message: 'credentials are at /v1/credentials',
};
export const METHOD_NOT_ALLOWED: ErrorAnswer = {
  status: 405,
  code: 'MethodNotAllowed',
  message: 'credentials are for GET only',
  headers: { Allow: 'GET' },
};
export const WRONG_HOST: ErrorAnswer = {
  status: 403,
  code: 'AccessDenied',
  message:
    'Access Denied. Called agent through invalid address, the Host header has to be an address that the agent listens on',
};
export const BODY_NOT_ALLOWED: ErrorAnswer = {
  status: 400,
  code: 'BadRequest',
  message: 'a request for credentials has no body',
  headers: { Connection: 'close' },
};
export const NO_TOKEN: ErrorAnswer = {
  status: 400,
  code: 'InvalidToken',
  message: 'the request has no service account token: it belongs in the Authorization header',
};
export const TOO_MANY_REQUESTS: ErrorAnswer = {
  status: 429,
  code: 'TooManyRequests',
  message: 'this address asks more often than the broker allows (--max-pod-qps)',
  retryAfter: 1_000,
};
export const UNEXPECTED: ErrorAnswer = {
  status: 500,
  code: 'InternalServerError',
  message: 'the broker failed in a way that it should not; its log says how',
};

/**
 * The one table from what became of a request to its HTTP status. What may heal within
 * seconds is a 503, since a 4xx ends the Go, Rust and C SDKs at their first try.
 */
export function errorAnswer(answer: Exclude<Answer, { kind: 'credentials' }>): ErrorAnswer {
  switch (answer.kind) {
    case 'bad-token':
      return {
        status: 400,
        code: 'InvalidToken',
        message: `the service account token is not accepted: ${answer.reason}`,
      };
    case 'wrong-pod':
      return { status: 403, code: 'AccessDenied', message: answer.reason };
    case 'too-slow': {
      const { last, retryAfter } = answer;
      if (last !== undefined) return { status: 503, ...told(last), retryAfter };
      return {
        status: 503,
        code: 'CredentialsPending',
        message: 'EKS Auth has not answered yet; a later try finds what it answers',
        retryAfter,
      };
    }
    case 'failed': {
      const { failure, retryAfter } = answer;
      if (isRefusal(failure)) return { status: failure.status ?? 400, ...told(failure) };
      return { status: 503, ...told(failure), retryAfter };
    }
  }
}

/** What EKS Auth says of this pod or its token; trying again soon would not help. */
function isRefusal({ kind, status }: FetchFailure): boolean {
  // Without a status it is not EKS Auth that said no: it was never asked, and may be next time.
  if (kind === 'request') return status !== undefined && status >= 400 && status < 500;
  if (kind !== 'refused' && kind !== 'token') return false;
  return status === undefined || (status >= 400 && status < 500);
}

function told({ code, message, requestId }: FetchFailure): { code: string; message: string } {
  return { code, message: requestId === undefined ? message : `[${requestId}]: ${message}` };
}

/** The body of an error: each SDK finds the member that it looks for. */
export function errorBody({ code, message }: ErrorAnswer): string {
  return JSON.stringify({ Code: code, Message: message, code, message });
}
