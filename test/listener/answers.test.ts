import t from 'tap';
import {
  type ErrorAnswer,
  errorAnswer,
  errorBody,
  METHOD_NOT_ALLOWED,
  NO_TOKEN,
  NOT_FOUND,
  UNEXPECTED,
  WRONG_HOST,
} from '../../src/listener/answers.ts';
import type { FetchFailure } from '../../src/sessions/failure.ts';

/** The answer to a fetch that failed. */
function failed(failure: Partial<FetchFailure>, retryAfter = 1_000): ErrorAnswer {
  const whole = { kind: 'service', code: 'Code', message: 'Why.', ...failure } as FetchFailure;
  return errorAnswer({ kind: 'failed', failure: whole, retryAfter });
}

t.test('what EKS Auth says of the pod or its token: its status', async (t) => {
  for (const [kind, status, code] of [
    ['refused', 404, 'ResourceNotFoundException'],
    ['refused', 400, 'AccessDeniedException'],
    ['token', 400, 'InvalidTokenException'],
    ['token', 400, 'ExpiredTokenException'],
    ['request', 400, 'InvalidParameterException'],
  ] as const) {
    t.strictSame(failed({ kind, status, code, message: 'Why.' }), {
      status,
      code,
      message: 'Why.',
    });
  }
  t.match(failed({ kind: 'refused' }), { status: 400 }, 'where it gave none');
  t.match(failed({ kind: 'token', status: 403 }), { status: 403 });
});

t.test('what may heal within seconds: 503, since a 4xx ends some SDKs at once', async (t) => {
  for (const [kind, status, code] of [
    ['throttled', 429, 'ThrottlingException'],
    ['service', 500, 'InternalServerException'],
    ['service', 503, 'ServiceUnavailableException'],
    ['network', undefined, 'ECONNREFUSED'],
    ['node-credentials', 403, 'UnrecognizedClientException'],
    ['node-credentials', 400, 'ExpiredTokenException'],
    ['node-credentials', undefined, 'NoRegion'],
    ['request', undefined, 'TypeError'],
    ['request', 503, 'Unknown'],
    ['malformed', 200, 'MalformedAnswer'],
    ['refused', 500, 'AccessDeniedException'],
    ['refused', 200, 'AccessDeniedException'],
  ] as const) {
    t.strictSame(
      failed({ kind, code, ...(status !== undefined && { status }) }, 2_500),
      { status: 503, code, message: 'Why.', retryAfter: 2_500 },
      `${kind} ${status}`,
    );
  }
});

t.test("the id of the service's call goes before its message", async (t) => {
  t.match(failed({ requestId: 'the-id' }), { message: '[the-id]: Why.' });
});

t.test('a wait that was over', async (t) => {
  t.match(errorAnswer({ kind: 'too-slow', last: undefined, retryAfter: 1_000 }), {
    status: 503,
    code: 'CredentialsPending',
    message: 'EKS Auth has not answered yet; a later try finds what it answers',
    retryAfter: 1_000,
  });
  const last: FetchFailure = { kind: 'throttled', code: 'ThrottlingException', message: 'Slow.' };
  t.match(
    errorAnswer({ kind: 'too-slow', last, retryAfter: 7_000 }),
    { status: 503, code: 'ThrottlingException', message: 'Slow.', retryAfter: 7_000 },
    'with what the latest attempt failed with',
  );
});

t.test('a token that is not accepted', async (t) => {
  t.strictSame(errorAnswer({ kind: 'bad-token', reason: 'it has expired (exp)' }), {
    status: 400,
    code: 'InvalidToken',
    message: 'the service account token is not accepted: it has expired (exp)',
  });
});

t.test('answers that need nothing', async (t) => {
  for (const [answer, status] of [
    [NOT_FOUND, 404],
    [METHOD_NOT_ALLOWED, 405],
    [WRONG_HOST, 403],
    [NO_TOKEN, 400],
    [UNEXPECTED, 500],
  ] as const) {
    t.equal(answer.status, status);
    const { code, message } = answer;
    t.strictSame(JSON.parse(errorBody(answer)), { Code: code, Message: message, code, message });
  }
  t.strictSame(METHOD_NOT_ALLOWED.headers, { Allow: 'GET' });
});
