import t from 'tap';
import { ask } from '../support/ask.ts';
import { until } from '../support/until.ts';
import { checkError } from './error-answer.ts';
import { type InProcessBroker, startInProcess } from './in-process-broker.ts';
import { exchange, lines, RawClient } from './raw-client.ts';

const PATH = '/v1/credentials';

let broker: InProcessBroker;
let good: string;
t.before(async () => {
  broker = await startInProcess(t, { args: ['--client-wait=400ms'] });
  good = broker.token();
  // From here on keys are proven, and `shop/cart` has its session.
  await until(async () => (await get(good)).status === 200, 'its session');
});
t.afterEach(() => broker.simulator.faults.clear());

function get(token: string | undefined, headers: Readonly<Record<string, string>> = {}) {
  return ask(broker.port, PATH, 'GET', {
    ...(token !== undefined && { Authorization: token }),
    ...headers,
  });
}

t.test('credentials, as SDKs read them', async (t) => {
  const answer = await get(broker.token());
  t.equal(answer.status, 200);
  t.match(answer.headers, {
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(answer.text)),
  });
  t.match(answer.body, {
    AccessKeyId: /^ASIA[A-Z2-7]{16}$/,
    SecretAccessKey: /^.{40}$/,
    Token: /^IQoJ/,
    AccountId: '111122223333',
    Expiration: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
  });
  t.strictSame(Object.keys(answer.body).toSorted(), [
    'AccessKeyId',
    'AccountId',
    'Expiration',
    'SecretAccessKey',
    'Token',
  ]);
  const left = Date.parse(answer.body.Expiration) - Date.now();
  t.ok(left > 5.9 * 3_600_000 && left <= 6 * 3_600_000, 'six hours');
});

t.test('path other than /v1/credentials: 404', async (t) => {
  for (const path of [
    '/',
    '/v1',
    '/v1/',
    '/v1/credentials/',
    '/v1/credentials/x',
    '/v1/credentialsx',
    '//v1/credentials',
    '/v1//credentials',
    '/V1/Credentials',
    '/v1%2Fcredentials',
    '/v1/%63redentials',
    '/x/../v1/credentials',
    '/v1/credentials;x',
    '/healthz',
    '/readyz',
    '/metrics',
    '/?/v1/credentials',
  ]) {
    const answer = await ask(broker.port, path, 'GET', { Authorization: good });
    checkError(t, answer, 404, 'NotFound', path);
  }
  const fragment = await exchange(
    broker.port,
    lines(`GET ${PATH}#x HTTP/1.1`, 'Host: 127.0.0.1', `Authorization: ${good}`),
  );
  t.not(fragment.status, 200, 'a fragment, which no client sends');
});

t.test('query strings make no difference', async (t) => {
  for (const query of ['?', '?x=1', '?x=/v1/other', '?token=x&y', '?%00']) {
    t.equal(
      (await ask(broker.port, PATH + query, 'GET', { Authorization: good })).status,
      200,
      query,
    );
  }
});

t.test('method other than GET: 405 with Allow', async (t) => {
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND']) {
    const answer = await ask(broker.port, PATH, method, { Authorization: good });
    checkError(t, answer, 405, 'MethodNotAllowed', method);
    t.equal(answer.headers.allow, 'GET', method);
  }
  t.equal((await ask(broker.port, '/other', 'POST', {})).status, 404, 'elsewhere, 404 as ever');
});

t.test('HEAD: 405 without a body, and the connection goes on', async (t) => {
  const client = await RawClient.open(broker.port);
  t.teardown(() => client.close());
  client.send(lines(`HEAD ${PATH} HTTP/1.1`, 'Host: 127.0.0.1', `Authorization: ${good}`));
  const head = await client.answer({ bodiless: true });
  t.equal(head.status, 405);
  t.equal(head.headers.allow, 'GET');
  client.send(lines(`GET ${PATH} HTTP/1.1`, 'Host: 127.0.0.1', `Authorization: ${good}`));
  t.equal((await client.answer()).status, 200);
});

t.test('CONNECT and unknown methods get nothing', async (t) => {
  for (const method of ['CONNECT', 'BREW', 'get', 'G\u00a0T']) {
    const client = await RawClient.open(broker.port);
    const target = method === 'CONNECT' ? '127.0.0.1:80' : PATH;
    client.send(lines(`${method} ${target} HTTP/1.1`, 'Host: 127.0.0.1', `Authorization: ${good}`));
    await client.end();
    t.match(client.rest, method === 'CONNECT' ? /^HTTP\/1\.1 405 / : /^HTTP\/1\.1 400 /, method);
    t.notMatch(client.rest, / 200 /, method);
    t.notMatch(client.rest, 'SecretAccessKey', method);
  }
});

t.test('Host: an address of ours, with or without port', async (t) => {
  for (const host of [
    '127.0.0.1',
    '127.0.0.1:80',
    `127.0.0.1:${broker.port}`,
    '169.254.170.23',
    '169.254.170.23:80',
    '[fd00:ec2::23]',
    '[fd00:ec2::23]:80',
  ]) {
    t.equal((await get(good, { Host: host })).status, 200, host);
  }
});

t.test('wrong or missing Host: 403', async (t) => {
  for (const host of [
    '',
    'localhost',
    'attacker.example',
    'attacker.example:80',
    '127.0.0.1.attacker.example',
    '127.0.0.2',
    '169.254.169.254',
    'fd00:ec2::23',
    '[::1]',
    '127.0.0.1:80:80',
    '127.0.0.1:x',
    '127.0.0.1:',
    'user@127.0.0.1',
    '127.0.0.1, attacker.example',
    '0x7f000001',
    '2130706433',
  ]) {
    const answer = await exchange(
      broker.port,
      lines(`GET ${PATH} HTTP/1.1`, `Host: ${host}`, `Authorization: ${good}`),
    );
    checkError(t, answer, 403, 'AccessDenied', `Host: ${host}`);
    t.match(answer.body.Message, /^Access Denied\. Called agent through invalid address/);
  }
  for (const version of ['1.1', '1.0']) {
    const answer = await exchange(
      broker.port,
      lines(`GET ${PATH} HTTP/${version}`, `Authorization: ${good}`),
    );
    checkError(t, answer, 403, 'AccessDenied', `HTTP/${version} without Host`);
  }
  const elsewhere = await ask(broker.port, '/other', 'POST', { Host: 'attacker.example' });
  t.equal(elsewhere.status, 403, 'whatever is asked for');
});

t.test('absolute-form targets are no path of ours', async (t) => {
  for (const target of [
    `http://127.0.0.1${PATH}`,
    `http://attacker.example${PATH}`,
    `https://127.0.0.1${PATH}`,
    '*',
  ]) {
    const answer = await exchange(
      broker.port,
      lines(`GET ${target} HTTP/1.1`, 'Host: 127.0.0.1', `Authorization: ${good}`),
    );
    checkError(t, answer, 404, 'NotFound', target);
  }
});

t.test(
  'no token, or one that cannot be read: 400, with the reason and never the token',
  async (t) => {
    for (const headers of [[], ['Authorization:'], ['Authorization:   ']]) {
      const answer = await exchange(
        broker.port,
        lines(`GET ${PATH} HTTP/1.1`, 'Host: 127.0.0.1', ...headers),
      );
      checkError(t, answer, 400, 'InvalidToken', `'${headers}'`);
      t.match(answer.body.Message, /no service account token: it belongs in the Authorization/);
    }
    const { simulator } = broker;
    const calls = simulator.counts().assumeRole.calls;
    for (const [token, reason] of [
      ['Zq7Xw9', /not a JSON Web Token/],
      [`Bearer ${good}`, /bare token, without a scheme/],
      ['Basic Zq7Xw9Zq7Xw9', /not a JSON Web Token/],
      ['Zq7Xw9Aa.Zq7Xw9Aa.Zq7Xw9Aa', /header cannot be decoded/],
      [good.slice(0, -20), /signature does not verify|JSON Web Token/],
      [simulator.kubelet.mint({ foreignKey: true }), /signature does not verify/],
      [
        simulator.kubelet.mint({ header: { alg: 'none' }, sign: () => 'Zq7Xw9' }),
        /\(alg\)|JSON Web/,
      ],
      [simulator.kubelet.mint({ lifetimeMs: -120_000 }), /has expired/],
      [simulator.kubelet.mint({ claims: { aud: ['Zq7Xw9'] } }), /\(aud\)/],
      [simulator.kubelet.mint({ claims: { iss: 'https://Zq7Xw9.example' } }), /\(iss\)/],
      [simulator.kubelet.mint({ kubernetes: { pod: null } }), /kubernetes\.io\.pod/],
    ] as const) {
      const answer = await get(token);
      checkError(t, answer, 400, 'InvalidToken', String(reason));
      t.match(answer.body.Message, reason);
      t.notMatch(answer.text, 'Zq7Xw9', 'nothing of it');
      for (const part of token.split('.')) {
        if (part.length > 8) t.notMatch(answer.text, part, 'nothing of it');
      }
    }
    t.equal(simulator.counts().assumeRole.calls, calls, 'and EKS Auth was not called');
  },
);

t.test('several tokens are none', async (t) => {
  const answer = await exchange(
    broker.port,
    lines(
      `GET ${PATH} HTTP/1.1`,
      'Host: 127.0.0.1',
      'Authorization: Zq7Xw9.Zq7Xw9.Zq7Xw9',
      `Authorization: ${good}`,
    ),
  );
  t.equal(answer.status, 400);
});

t.test('EKS Auth refused: its status, code and message', async (t) => {
  const unknown = await get(broker.token('nobody'));
  checkError(t, unknown, 404, 'ResourceNotFoundException', 'no association');
  t.match(unknown.body.Message, /^\[[0-9a-f-]{36}\]: ./, 'with the id of the call');
  broker.simulator.faults.add({
    kind: 'error',
    code: 'InvalidTokenException',
    status: 400,
    message: 'The token is not what it was.',
    serviceAccount: 'spent',
  });
  const spent = await get(broker.token('spent'));
  checkError(t, spent, 400, 'InvalidTokenException', 'a token that is spent');
  t.match(spent.body.Message, 'The token is not what it was.');
  for (const answer of [unknown, spent]) t.equal(answer.headers['retry-after'], undefined);
});

t.test('a fetch that outlasts the wait: 503 with Retry-After, and it goes on', async (t) => {
  const { simulator } = broker;
  simulator.associations.create({
    namespace: 'shop',
    serviceAccount: 'slow',
    roleArn: 'arn:aws:iam::111122223333:role/slow',
  });
  simulator.faults.add({ kind: 'slow', delay: 800, serviceAccount: 'slow', calls: 1 });
  const token = broker.token('slow');
  const first = await get(token);
  checkError(t, first, 503, 'CredentialsPending', 'too slow');
  t.equal(first.headers['retry-after'], '1');
  let answer = await get(token);
  while (answer.status === 503) answer = await get(token);
  t.equal(answer.status, 200);
  t.equal(simulator.counts().serviceAccounts['shop/slow']?.calls, 1, 'by the same call');
});

t.test('EKS Auth throttles or fails: 503 with Retry-After, its code and message', async (t) => {
  // Each on a node of its own, since failures slow the calls that come after them.
  await Promise.all(
    (
      [
        ['throttle', 'ThrottlingException'],
        ['internal-error', 'InternalServerException'],
        ['reset', /^(ECONNRESET|UND_ERR_SOCKET)$/],
        ['other-subject', /./],
      ] as const
    ).map(async ([kind, code]) => {
      const node = await startInProcess(t, { args: ['--client-wait=2s', '--flight-timeout=3s'] });
      node.simulator.faults.add({ kind });
      const headers = { Authorization: node.token() };
      let answer = await ask(node.port, PATH, 'GET', headers);
      // On a busy machine the first call may have no answer yet.
      while (answer.body.code === 'CredentialsPending') {
        answer = await ask(node.port, PATH, 'GET', headers);
      }
      checkError(t, answer, 503, code, kind);
      t.match(answer.headers['retry-after'], /^[1-9]\d*$/, `${kind}: Retry-After`);
      node.simulator.faults.clear();
    }),
  );
});

t.test('no token and no secret in the log', async (t) => {
  const text = JSON.stringify(broker.lines);
  const { body } = await get(good);
  for (const secret of [good, ...good.split('.').slice(1), body.SecretAccessKey, body.Token]) {
    t.notMatch(text, secret);
  }
  t.match(text, body.AccessKeyId, 'the audit line names the key');
});
