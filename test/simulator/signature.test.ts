import t from 'tap';
import { associatedPod, assume, type CallOptions, call, simulatorFor } from './caller.ts';

t.test('the signature is verified for real', async (t) => {
  const simulator = await simulatorFor(t);
  const { nodeCredentials } = simulator;
  const pod = associatedPod(simulator);
  const cases: [string, CallOptions, string, RegExp][] = [
    [
      'no signature',
      { headers: { authorization: undefined } },
      'MissingAuthenticationTokenException',
      /Missing Authentication Token/,
    ],
    [
      'another scheme',
      { headers: { authorization: 'Bearer x' } },
      'IncompleteSignatureException',
      /scheme/,
    ],
    [
      'no signed headers',
      { headers: { authorization: 'AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request' } },
      'IncompleteSignatureException',
      /requires 'Signature'/,
    ],
    [
      'no date',
      { headers: { 'x-amz-date': undefined } },
      'IncompleteSignatureException',
      /X-Amz-Date/,
    ],
    [
      'unknown access key',
      { credentials: { ...nodeCredentials, accessKeyId: 'AKIAUNKNOWNUNKNOWNXX' } },
      'UnrecognizedClientException',
      /security token included in the request is invalid/,
    ],
    [
      'a session token that is not there',
      { credentials: { ...nodeCredentials, sessionToken: 'IQoJabc' } },
      'UnrecognizedClientException',
      /invalid/,
    ],
    [
      'wrong secret',
      { credentials: { ...nodeCredentials, secretAccessKey: 'wrong' } },
      'InvalidSignatureException',
      /does not match/,
    ],
    [
      'tampered header',
      { headers: { 'content-type': 'text/plain' } },
      'InvalidSignatureException',
      /does not match/,
    ],
    ['another service', { service: 'eks' }, 'InvalidSignatureException', /'eks-auth'/],
    ['another region', { region: 'eu-west-1' }, 'InvalidSignatureException', /valid region/],
    [
      'a body hash that is not the body’s',
      { headers: { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } },
      'InvalidSignatureException',
      /does not match/,
    ],
    [
      'signed too long ago',
      { now: Date.now() - 301_000 },
      'InvalidSignatureException',
      /^Signature expired: \d{8}T\d{6}Z is now earlier than \d{8}T\d{6}Z \(\d{8}T\d{6}Z - 5 min\.\)$/,
    ],
    [
      'signed in the future',
      { now: Date.now() + 302_000 },
      'InvalidSignatureException',
      /^Signature not yet current: .* is still later than .* \+ 5 min\.\)$/,
    ],
  ];
  for (const [name, options, code, message] of cases) {
    t.match(
      await assume(simulator, pod.token, options),
      { status: 403, headers: { 'x-amzn-errortype': code }, body: { message } },
      name,
    );
  }
  t.equal((await assume(simulator, pod.token, { now: Date.now() - 290_000 })).status, 200);
});

t.test('the services’ clock can be off, and says so', async (t) => {
  const simulator = await simulatorFor(t, { clockOffset: 600_000 });
  const pod = associatedPod(simulator);
  const refused = await assume(simulator, pod.token);
  t.match(refused, { status: 403, body: { message: /^Signature expired/ } });
  const date = Date.parse(refused.headers.date as string);
  t.ok(Math.abs(date - Date.now() - 600_000) < 5_000, 'the Date header is by the services’ clock');
  t.equal((await assume(simulator, pod.token, { now: date })).status, 200);
  simulator.eksAuth.set({ clockOffset: 0 });
  t.equal((await assume(simulator, pod.token)).status, 400, 'the token is not valid yet');
});

t.test('node credentials: rotated, expired, revoked', async (t) => {
  const simulator = await simulatorFor(t);
  const pod = associatedPod(simulator);
  const fixed = simulator.nodeCredentials;
  const temporary = simulator.node.rotate();
  t.match(temporary, { accessKeyId: /^ASIA/, sessionToken: /^IQoJ/ });
  t.equal((await assume(simulator, pod.token)).status, 200, 'with a session token');
  t.equal((await assume(simulator, pod.token, { credentials: fixed })).status, 200, 'old ones');
  const { sessionToken: _, ...without } = temporary;
  t.match(await assume(simulator, pod.token, { credentials: without }), {
    status: 403,
    headers: { 'x-amzn-errortype': 'UnrecognizedClientException' },
  });
  simulator.node.expire();
  t.match(await assume(simulator, pod.token), {
    status: 403,
    headers: { 'x-amzn-errortype': 'ExpiredTokenException' },
    body: { message: 'The security token included in the request is expired' },
  });
  simulator.node.revoke(fixed.accessKeyId);
  t.match(await assume(simulator, pod.token, { credentials: fixed }), {
    headers: { 'x-amzn-errortype': 'UnrecognizedClientException' },
  });
  const own = { accessKeyId: 'AKIAOWNOWNOWNOWNOWNO', secretAccessKey: 'own' };
  const other = await simulatorFor(t, { nodeCredentials: own });
  t.match(other.nodeCredentials, own);
});

t.test('a role session may not call EKS or EKS Auth', async (t) => {
  const simulator = await simulatorFor(t);
  const pod = associatedPod(simulator);
  const { body } = await assume(simulator, pod.token);
  t.match(await assume(simulator, pod.token, { credentials: body.credentials }), {
    status: 400,
    headers: { 'x-amzn-errortype': 'AccessDeniedException' },
    body: { message: /assumed-role\/web\/.* is not authorized to perform: eks-auth:/ },
  });
  const path = '/clusters/simulated/pod-identity-associations';
  const options = { credentials: body.credentials, service: 'eks', method: 'GET', path };
  t.match(await call(simulator, options), { status: 403, body: { message: /not authorized/ } });
});
