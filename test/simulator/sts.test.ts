import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import t from 'tap';
import { ManualClock } from '../support/manual-clock.ts';
import { associatedPod, assume, call, simulatorFor } from './caller.ts';

t.test('says who a role session is, to the JavaScript SDK', async (t) => {
  const clock = new ManualClock(Date.now());
  const simulator = await simulatorFor(t, { clock, sessionLifetime: 60_000 });
  const pod = associatedPod(simulator);
  const { body } = await assume(simulator, pod.token, { now: clock.now() });
  const identify = (credentials: { accessKeyId: string; secretAccessKey: string }) =>
    new STSClient({
      endpoint: simulator.url,
      region: simulator.region,
      credentials,
      maxAttempts: 1,
    }).send(new GetCallerIdentityCommand({}));
  const { accessKeyId, secretAccessKey, sessionToken } = body.credentials;
  const { $metadata, ...identity } = await identify({
    accessKeyId,
    secretAccessKey,
    sessionToken,
  } as never);
  t.match($metadata, { httpStatusCode: 200, requestId: String });
  t.strictSame(identity, {
    Arn: body.assumedRoleUser.arn,
    UserId: body.assumedRoleUser.assumeRoleId,
    Account: '111122223333',
  });

  const { nodeCredentials } = simulator;
  t.equal((await identify(nodeCredentials as never)).Arn, simulator.node.arn);

  const tampered = `${sessionToken.slice(0, -8)}AAAAAAA=`;
  const invalid = { name: 'InvalidClientTokenId', $metadata: { httpStatusCode: 403 } };
  await t.rejects(
    identify({ accessKeyId, secretAccessKey, sessionToken: tampered } as never),
    invalid,
    'tampered session token',
  );
  await t.rejects(identify({ accessKeyId, secretAccessKey }), invalid, 'no session token');
  await t.rejects(
    identify({ accessKeyId: 'ASIAOTHEROTHEROTHERX', secretAccessKey, sessionToken } as never),
    invalid,
    'another session’s token',
  );
  await t.rejects(
    identify({ accessKeyId, secretAccessKey: 'wrong', sessionToken } as never),
    { name: 'SignatureDoesNotMatch', $metadata: { httpStatusCode: 403 } },
    'wrong secret',
  );
  await clock.advance(60_000);
  await t.rejects(
    identify({ accessKeyId, secretAccessKey, sessionToken } as never),
    { name: /^ExpiredToken/, message: /is expired/, $metadata: { httpStatusCode: 403 } },
    'expired session',
  );
});

t.test('another simulator’s session is nobody', async (t) => {
  const [one, other] = [await simulatorFor(t), await simulatorFor(t)];
  const { body } = await assume(one, associatedPod(one).token);
  const options = {
    service: 'sts',
    credentials: body.credentials,
    body: 'Action=GetCallerIdentity&Version=2011-06-15',
  };
  t.match(await call(one, options), { status: 200, text: /<Arn>arn:aws:sts::/ });
  t.match(await call(other, options), {
    status: 403,
    text: /<Type>Sender<\/Type>\s*<Code>InvalidClientTokenId<\/Code>/,
  });
});

t.test('the query protocol’s own errors', async (t) => {
  const simulator = await simulatorFor(t);
  const service = 'sts';
  t.match(await call(simulator, { service, body: 'Action=Get<CallerIdentity' }), {
    status: 400,
    headers: { 'content-type': 'text/xml' },
    text: /<Code>InvalidAction<\/Code>\s*<Message>Could not find operation Get&lt;Caller/,
  });
  const body = 'Action=GetCallerIdentity&Version=2011-06-15';
  t.match(await call(simulator, { service, body, headers: { authorization: undefined } }), {
    status: 403,
    text: /<Code>MissingAuthenticationToken<\/Code>/,
  });
  t.equal((await call(simulator, { service, body, now: Date.now() - 800_000 })).status, 200);
  t.match(await call(simulator, { service, body, now: Date.now() - 901_000 }), {
    status: 403,
    text: /<Code>SignatureDoesNotMatch<\/Code>\s*<Message>Signature expired.*15 min/,
  });
});
