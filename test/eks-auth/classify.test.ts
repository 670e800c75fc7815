import t from 'tap';
import { assumeRoleForPodIdentity } from '../../src/eks-auth/assume-role.ts';
import { classify } from '../../src/eks-auth/classify.ts';
import { createClient } from '../../src/eks-auth/create-client.ts';
import type { AssumeRoleFailure } from '../../src/eks-auth/failure.ts';
import { MalformedAnswerError, NodeCredentialsError } from '../../src/eks-auth/failure.ts';
import type { NodeCredentials } from '../../src/eks-auth/node-credentials.ts';
import { createDispatcher } from '../../src/http/dispatcher.ts';
import { ExchangeTooLargeError } from '../../src/http/exchange.ts';
import { ANSWER, answerError, answerWith, type Respond, startServer } from './eks-auth-server.ts';

const server = await startServer(t);
const dispatcher = createDispatcher();
t.teardown(() => dispatcher.destroy());
const node: NodeCredentials = { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'example' };

/** What a call comes to that is answered so; it has crossed to another thread, as it were. */
async function failureOf(respond: Respond, credentials = () => node): Promise<AssumeRoleFailure> {
  server.respond = respond;
  const { url: endpoint } = server;
  const client = createClient({ region: 'eu-central-1', endpoint, dispatcher, credentials });
  try {
    await assumeRoleForPodIdentity(client, { clusterName: 'c1', token: 'a.b.c' });
  } catch (error) {
    return structuredClone(classify(error));
  }
  throw new Error('the call did not fail');
}

t.test('errors of the model', async (t) => {
  const kinds = {
    ThrottlingException: [429, 'throttled'],
    InvalidRequestException: [400, 'request'],
    InvalidParameterException: [400, 'request'],
    InvalidTokenException: [400, 'token'],
    ExpiredTokenException: [400, 'token'],
    AccessDeniedException: [400, 'refused'],
    ResourceNotFoundException: [404, 'refused'],
    InternalServerException: [500, 'service'],
    ServiceUnavailableException: [503, 'service'],
  } as const;
  for (const [code, [status, kind]] of Object.entries(kinds)) {
    t.strictSame(await failureOf(answerError(status, code, 'in words')), {
      kind,
      code,
      message: 'in words',
      status,
      requestId: 'r-1',
    });
  }
});

t.test('errors of the front door are about the node', async (t) => {
  const errors: [status: number, code: string, message: string][] = [
    [403, 'UnrecognizedClientException', 'The security token included in the request is invalid.'],
    [400, 'UnrecognizedClientException', 'The security token included in the request is invalid.'],
    [403, 'InvalidSignatureException', 'The request signature we calculated does not match'],
    [403, 'MissingAuthenticationTokenException', 'Missing Authentication Token'],
    [403, 'SignatureDoesNotMatch', ''],
    [403, 'IncompleteSignatureException', ''],
    [403, 'ExpiredTokenException', 'The security token included in the request is expired'],
    [400, 'ExpiredTokenException', 'The security token included in the request is expired'],
    [403, 'AccessDeniedException', 'not authorized to perform: eks-auth:AssumeRole…'],
    [403, 'SomethingNew', ''],
  ];
  for (const [status, code, message] of errors) {
    const failure = await failureOf(answerError(status, code, message));
    t.match(failure, { kind: 'node-credentials', code, status });
    t.notOk('clockSkew' in failure);
  }
});

t.test('the clock of the node', async (t) => {
  const errors: [code: string, message: string][] = [
    ['InvalidSignatureException', 'Signature expired: 20260101T000000Z is now earlier than …'],
    ['InvalidSignatureException', 'Signature not yet current: 20260101T000000Z is still later …'],
    ['RequestTimeTooSkewed', ''],
    ['RequestExpired', ''],
  ];
  for (const [code, message] of errors) {
    t.match(await failureOf(answerError(400, code, message)), {
      kind: 'node-credentials',
      clockSkew: true,
    });
  }
});

t.test('other names and statuses', async (t) => {
  const cases: [status: number, code: string, kind: string][] = [
    [400, 'Throttling', 'throttled'],
    [503, 'SlowDown', 'throttled'],
    [429, 'Whatever', 'throttled'],
    [502, 'BadGateway', 'service'],
    [500, 'ResourceNotFoundException', 'service'],
    [404, 'UnknownOperationException', 'request'],
    [413, 'RequestEntityTooLarge', 'request'],
  ];
  for (const [status, code, kind] of cases) {
    t.match(await failureOf(answerError(status, code, '')), { kind, code, status });
  }
});

t.test('answers that are not of EKS Auth', async (t) => {
  const html = '<html>secret-looking text</html>';
  const cases: [status: number, kind: string][] = [
    [200, 'malformed'],
    [302, 'malformed'],
    [400, 'malformed'],
    [403, 'node-credentials'],
    [404, 'malformed'],
    [429, 'throttled'],
    [500, 'service'],
    [504, 'service'],
  ];
  for (const [status, kind] of cases) {
    const failure = await failureOf(answerWith(status, html));
    t.match(failure, { kind, code: `Http${status}`, status });
    t.notMatch(failure.message, 'secret', 'the body is not quoted');
  }
  t.match(await failureOf(answerWith(200, '')), { kind: 'malformed' });
  t.match(await failureOf(answerWith(200, '[]')), { kind: 'malformed' });
  t.match(await failureOf(answerWith(200, 'null')), { kind: 'malformed' });
  t.match(await failureOf(answerWith(200, { ...ANSWER, audience: 7 })), { kind: 'malformed' });
  t.match(await failureOf(answerWith(200, { ...ANSWER, credentials: { expiration: 'soon' } })), {
    kind: 'malformed',
  });
  t.match(await failureOf(answerWith(200, 'x'.repeat(70_000))), {
    kind: 'malformed',
    code: 'AnswerTooLarge',
    status: 200,
  });
  t.match(await failureOf(answerWith(500, 'x'.repeat(70_000))), {
    kind: 'service',
    code: 'AnswerTooLarge',
  });
});

t.test('how long to wait', async (t) => {
  const after = async (headers: Record<string, string>) =>
    (await failureOf(answerError(429, 'ThrottlingException', '', headers))).retryAfterMs;
  t.equal(await after({ 'retry-after': '7' }), 7_000);
  t.equal(await after({ 'retry-after': '0' }), 0);
  t.equal(await after({ 'retry-after': '999999999' }), 3_600_000);
  t.equal(
    await after({
      date: 'Thu, 01 Jan 2026 00:00:00 GMT',
      'retry-after': 'Thu, 01 Jan 2026 00:00:09 GMT',
    }),
    9_000,
  );
  t.equal(
    await after({
      date: 'Thu, 01 Jan 2026 00:00:10 GMT',
      'retry-after': 'Thu, 01 Jan 2026 00:00:09 GMT',
    }),
    0,
  );
  for (const nonsense of ['', 'soon', '-1', '1.5']) {
    t.equal(await after({ 'retry-after': nonsense }), undefined, nonsense);
  }
});

t.test('no answer', async (t) => {
  t.match(await failureOf((response) => response.destroy()), {
    kind: 'network',
    code: /UND_ERR_SOCKET|ECONNRESET/,
  });
  t.match(
    await failureOf((response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{"subj', () => response.destroy());
    }),
    { kind: 'network' },
  );
  t.match(await failureOf((response) => response.socket?.end('SSH-2.0\r\n')), {
    kind: 'malformed',
    code: 'NotHttp',
  });
  const refused = createClient({
    region: 'eu-central-1',
    endpoint: 'http://localhost:1',
    dispatcher,
    credentials: () => node,
  });
  const error = await assumeRoleForPodIdentity(refused, { clusterName: 'c', token: 't' }).catch(
    (error: unknown) => error,
  );
  const failure = classify(error);
  t.match(failure, { kind: 'network', code: 'ECONNREFUSED', message: /127\.0\.0\.1|::1/ });
  t.notOk('status' in failure);
});

t.test('the node has no credentials', async (t) => {
  const none = () => {
    throw new NodeCredentialsError('no AWS credentials on this node: none anywhere');
  };
  t.strictSame(await failureOf(answerWith(200, ANSWER), none), {
    kind: 'node-credentials',
    code: 'NodeCredentialsError',
    message: 'no AWS credentials on this node: none anywhere',
  });
  const empty = () => ({}) as NodeCredentials;
  t.match(await failureOf(answerWith(200, ANSWER), empty), { kind: 'node-credentials' });
  t.match(
    classify(Object.assign(new Error('Could not load'), { name: 'CredentialsProviderError' })),
    {
      kind: 'node-credentials',
    },
  );
});

t.test('whatever is thrown comes out as a failure', async (t) => {
  for (const thrown of [undefined, null, 'text', 7, {}, [], Symbol.iterator, new Error('')]) {
    t.equal(classify(thrown).kind, 'request');
  }
  t.match(classify(new TypeError('endpoint: not a URL')), { kind: 'request', code: 'TypeError' });
  t.match(classify(new MalformedAnswerError('audience', 'is missing', 'r-2')), {
    kind: 'malformed',
    code: 'MalformedAnswer',
    message: 'answer of EKS Auth: audience is missing',
    status: 200,
    requestId: 'r-2',
  });
  t.match(classify(new ExchangeTooLargeError(1, 503)), { kind: 'service', status: 503 });
  t.match(classify(new DOMException('This operation was aborted', 'AbortError')), {
    kind: 'network',
    code: 'AbortError',
  });
  const tried = new AggregateError([
    Object.assign(new Error('connect ECONNREFUSED ::1:1'), { code: 'ECONNREFUSED' }),
  ]);
  t.match(classify(tried), {
    kind: 'network',
    code: 'ECONNREFUSED',
    message: 'connect ECONNREFUSED ::1:1',
  });
});

t.test('no token, secret or control character gets into a failure', async (t) => {
  const jwt = ['eyJhbGciOiJSUzI1NiJ9', 'eyJzdWIiOiJzeXN0ZW0ifQ', 'c2lnbmF0dXJl'].join('.');
  const sessionToken = `IQoJ${'b3JpZ2luX2VjEJr/'.repeat(20)}`;
  const message = [
    `token ${jwt} is not valid`,
    `cut ${jwt.slice(0, 30)}`,
    `x-amz-security-token:short-secret`,
    `POST\n/clusters\u0000\u001b[31m\u0085\u2028 ${sessionToken}`,
  ].join('\n');
  const { message: clean, ...rest } = await failureOf(
    answerError(400, 'InvalidTokenException', message),
  );
  t.match(rest, { kind: 'token' });
  t.match(
    clean,
    /^token \[redacted\] is not valid cut \[redacted\] x-amz-security-token:\[redacted\] POST \/clusters \[31m/,
  );
  t.notMatch(clean, /eyJ|IQoJ|short-secret|\p{C}/u);

  const long = await failureOf(answerError(400, 'InvalidTokenException', 'word '.repeat(1_000)));
  t.equal(long.message.length, 512);
  const kept =
    'arn:aws:sts::111122223333:assumed-role/node-role/i-0123456789abcdef0 at eks-auth.eu-central-1.api.aws';
  t.equal((await failureOf(answerError(400, 'AccessDeniedException', kept))).message, kept);
});
