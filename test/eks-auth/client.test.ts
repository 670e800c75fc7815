import t from 'tap';
import { createClient } from '../../src/eks-auth/create-client.ts';
import {
  AccessDeniedException,
  AssumeRoleForPodIdentityCommand,
  EKSAuthClient,
  EKSAuthServiceException,
  ExpiredTokenException,
  InternalServerException,
  InvalidParameterException,
  InvalidRequestException,
  InvalidTokenException,
  ResourceNotFoundException,
  ServiceUnavailableException,
  ThrottlingException,
} from '../../src/eks-auth/index.ts';
import { UndiciTransport } from '../../src/eks-auth/transport.ts';
import { createDispatcher } from '../../src/http/dispatcher.ts';
import {
  ANSWER,
  answerError,
  answerWith,
  type Received,
  startServer,
  verifySignature,
} from './eks-auth-server.ts';

const SECRET = 'example-node-secret';
const TOKEN = 'header.claims.signature';
const command = () => new AssumeRoleForPodIdentityCommand({ clusterName: 'c1', token: TOKEN });

async function start(t: Parameters<typeof startServer>[0]) {
  const server = await startServer(t);
  const dispatcher = createDispatcher();
  t.teardown(() => dispatcher.destroy());
  const holder = {
    credentials: { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: SECRET, sessionToken: 'node' },
  };
  const client = createClient({
    region: 'eu-central-1',
    endpoint: server.url,
    dispatcher,
    credentials: () => holder.credentials,
    userAgent: 'pod-identity-broker/0.0.0',
  });
  return { server, dispatcher, holder, client };
}

const last = (received: readonly Received[]) => received.at(-1) as Received;

t.test('a call is a signed POST with the token in its body', async (t) => {
  const { server, client } = await start(t);
  const output = await client.send(command());
  t.match(output, {
    ...ANSWER,
    credentials: { expiration: new Date(1_900_000_000_000) },
    $metadata: { httpStatusCode: 200, requestId: 'r-1', attempts: 1 },
  });
  const request = last(server.received);
  t.equal(request.method, 'POST');
  t.equal(request.url, '/clusters/c1/assume-role-for-pod-identity');
  t.strictSame(JSON.parse(request.body), { token: TOKEN });
  t.match(request.headers, {
    'content-type': 'application/json',
    'content-length': String(request.body.length),
    host: `127.0.0.1:${server.port}`,
    'user-agent': / pod-identity-broker\/0\.0\.0$/,
    'x-amz-security-token': 'node',
  });
  t.match(verifySignature(request, SECRET), {
    valid: true,
    accessKeyId: 'AKIAEXAMPLE',
    region: 'eu-central-1',
    service: 'eks-auth',
  });
  const { signedHeaders } = verifySignature(request, SECRET);
  t.ok(
    ['host', 'x-amz-date', 'x-amz-security-token'].every((name) => signedHeaders.includes(name)),
  );
  t.notOk(verifySignature(request, 'another secret').valid);
});

t.test('the credentials are asked for on every call', async (t) => {
  const { server, holder, client } = await start(t);
  await client.send(command());
  holder.credentials = { accessKeyId: 'AKIASECOND', secretAccessKey: 'second', sessionToken: 'n2' };
  await client.send(command());
  const request = last(server.received);
  t.match(verifySignature(request, 'second'), { valid: true, accessKeyId: 'AKIASECOND' });
  t.equal(request.headers['x-amz-security-token'], 'n2');
});

t.test('each modelled error is an instance of its class', async (t) => {
  const { server, client } = await start(t);
  const classes = [
    [ThrottlingException, 429],
    [InvalidRequestException, 400],
    [InvalidParameterException, 400],
    [InvalidTokenException, 400],
    [ExpiredTokenException, 400],
    [AccessDeniedException, 400],
    [ResourceNotFoundException, 404],
    [InternalServerException, 500],
    [ServiceUnavailableException, 503],
  ] as const;
  for (const [Exception, status] of classes) {
    server.respond = answerError(status, Exception.name, 'said the service');
    const error = await client.send(command()).then(
      () => t.fail('an error came out as an answer'),
      (error: unknown) => error,
    );
    t.ok(error instanceof Exception, Exception.name);
    t.ok(error instanceof EKSAuthServiceException);
    t.match(error, {
      name: Exception.name,
      message: 'said the service',
      $fault: status < 500 ? 'client' : 'server',
      $metadata: { httpStatusCode: status, requestId: 'r-1', attempts: 1 },
    });
  }
  t.equal(server.received.length, classes.length, 'no call was repeated');
});

t.test('an error that is not in the model keeps its name', async (t) => {
  const { server, client } = await start(t);
  server.respond = answerError(403, 'UnrecognizedClientException', 'security token is invalid');
  await t.rejects(client.send(command()), {
    name: 'UnrecognizedClientException',
    message: 'security token is invalid',
    $metadata: { httpStatusCode: 403 },
  });
  server.respond = answerWith(400, { __type: 'com.amazon.coral#SomeException', Message: 'Some' });
  await t.rejects(client.send(command()), { name: 'SomeException', message: 'Some' });
});

t.test('after a skew error calls are signed by the time of the service', async (t) => {
  const { server, client } = await start(t);
  const AHEAD = 3_600_000;
  const serviceTime = () => new Date(Date.now() + AHEAD).toUTCString();
  const isCloseTo = (time: number, request: Received) =>
    Math.abs(verifySignature(request, SECRET).signedAt - time) < 60_000;

  server.respond = answerError(403, 'InvalidSignatureException', 'Signature expired: …', {
    date: serviceTime(),
  });
  await t.rejects(client.send(command()), { name: 'InvalidSignatureException' });
  t.ok(isCloseTo(Date.now(), last(server.received)), 'first by the time of the node');
  t.equal(server.received.length, 1, 'one attempt a call');

  server.respond = answerWith(200, ANSWER, { date: serviceTime() });
  await client.send(command());
  t.ok(isCloseTo(Date.now() + AHEAD, last(server.received)), 'then by that of the service');
  t.ok(verifySignature(last(server.received), SECRET).valid);

  server.respond = answerWith(200, ANSWER);
  await client.send(command());
  await client.send(command());
  t.ok(isCloseTo(Date.now(), last(server.received)), 'and back, once the clocks agree');
});

t.test('the endpoint follows region and FIPS', async (t) => {
  process.env.AWS_ENDPOINT_URL_EKS_AUTH = 'https://not.looked.at';
  t.teardown(() => delete process.env.AWS_ENDPOINT_URL_EKS_AUTH);
  const hosts: string[] = [];
  const requestHandler = new UndiciTransport({ dispatcher: createDispatcher() });
  requestHandler.handle = async (request) => {
    hosts.push(`${request.protocol}//${request.hostname}${request.path}`);
    throw new Error('not sent');
  };
  const credentials = { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: SECRET };
  const config = { credentials, requestHandler, maxAttempts: 1 };
  for (const client of [
    new EKSAuthClient({ ...config, region: 'eu-central-1' }),
    new EKSAuthClient({ ...config, region: 'us-east-1', useFipsEndpoint: true }),
    new EKSAuthClient({ ...config, region: async () => 'cn-north-1' }),
  ]) {
    await t.rejects(client.send(command()), { message: 'not sent' });
  }
  const path = '/clusters/c1/assume-role-for-pod-identity';
  t.strictSame(hosts, [
    `https://eks-auth.eu-central-1.api.aws${path}`,
    `https://eks-auth-fips.us-east-1.api.aws${path}`,
    `https://eks-auth.cn-north-1.api.amazonwebservices.com.cn${path}`,
  ]);
});

t.test('tokens and secrets do not get into the log of the SDK', async (t) => {
  const { server, dispatcher } = await start(t);
  const lines: unknown[] = [];
  const log = (...line: unknown[]) => lines.push(line);
  const client = new EKSAuthClient({
    region: 'eu-central-1',
    endpoint: server.url,
    credentials: { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: SECRET },
    requestHandler: new UndiciTransport({ dispatcher }),
    logger: { trace: log, debug: log, info: log, warn: log, error: log },
  });
  await client.send(command());
  server.respond = answerError(400, 'InvalidTokenException', 'no');
  await t.rejects(client.send(command()));
  const written = JSON.stringify(lines);
  t.match(written, 'AssumeRoleForPodIdentityCommand');
  t.notMatch(written, TOKEN);
  t.notMatch(written, SECRET);
  t.notMatch(written, ANSWER.credentials.secretAccessKey);
  t.notMatch(written, ANSWER.credentials.sessionToken);
});
