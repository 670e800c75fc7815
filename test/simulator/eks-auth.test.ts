import { createHmac, generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import type { MintOptions } from '../../src/simulator/kubelet.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { associatedPod, assume, roleArn, simulatorFor } from './caller.ts';

t.test('answers as the service model says', async (t) => {
  const simulator = await simulatorFor(t);
  const pod = associatedPod(simulator);
  const { status, headers, body } = await assume(simulator, pod.token);
  t.equal(status, 200);
  t.match(headers, { 'x-amzn-requestid': /^[0-9a-f-]{36}$/, date: /GMT$/ });
  const session = `eks-simulated-${pod.name.slice(0, 10)}-`;
  t.match(body, {
    subject: { namespace: 'default', serviceAccount: 'web' },
    audience: 'pods.eks.amazonaws.com',
    podIdentityAssociation: {
      associationArn: /^arn:aws:eks:us-east-1:111122223333:podidentityassociation\/simulated\/a-/,
      associationId: /^a-[a-z0-9]{17}$/,
    },
    assumedRoleUser: {
      arn: new RegExp(`^arn:aws:sts::111122223333:assumed-role/web/${session}[0-9a-f-]{36}$`),
      assumeRoleId: new RegExp(`^AROA[A-Z2-7]{17}:${session}[0-9a-f-]{36}$`),
    },
    credentials: {
      accessKeyId: /^ASIA[A-Z2-7]{16}$/,
      secretAccessKey: /^.{40}$/,
      sessionToken: /^IQoJ.{500,1000}$/,
    },
  });
  const lifetime = body.credentials.expiration - Date.now() / 1_000;
  t.ok(Math.abs(lifetime - 6 * 3_600) < 60, 'six hours, in seconds since the epoch');
  t.ok(body.assumedRoleUser.arn.split('/')[2].length <= 64, 'STS allows 64 characters');
});

t.test('refuses tokens that are not fit', async (t) => {
  const simulator = await simulatorFor(t, { keyAlgorithm: 'RS256' });
  const pod = associatedPod(simulator);
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = simulator.issuerKeys.current.jwk;
  const publicPem = simulator.issuerKeys.current.publicKey.export({ type: 'spki', format: 'pem' });
  const hmac = (input: string) => createHmac('sha256', publicPem).update(input).digest('base64url');
  const unfit: Record<string, [MintOptions, string]> = {
    'another key under a known kid': [{ foreignKey: true }, 'InvalidTokenException'],
    'unknown kid': [{ header: { kid: 'f'.repeat(40) } }, 'InvalidTokenException'],
    'no kid': [{ header: { kid: null } }, 'InvalidTokenException'],
    'alg none': [{ header: { alg: 'none' }, sign: () => 'A' }, 'InvalidTokenException'],
    'no signature': [{ sign: () => '' }, 'InvalidParameterException'],
    'HS256 with the public key': [
      { header: { alg: 'HS256' }, sign: hmac },
      'InvalidTokenException',
    ],
    'another alg': [{ header: { alg: 'RS512' } }, 'InvalidTokenException'],
    crit: [{ header: { crit: ['x'], x: 1 } }, 'InvalidTokenException'],
    'embedded jwk': [
      { foreignKey: true, header: { jwk: publicKey.export({ format: 'jwk' }) } },
      'InvalidTokenException',
    ],
    'wrong aud': [{ claims: { aud: ['sts.amazonaws.com'] } }, 'InvalidTokenException'],
    'no aud': [{ claims: { aud: null } }, 'InvalidTokenException'],
    'wrong iss': [{ claims: { iss: 'https://elsewhere' } }, 'InvalidTokenException'],
    'wrong sub': [
      { claims: { sub: 'system:serviceaccount:default:other' } },
      'InvalidTokenException',
    ],
    'no exp': [{ claims: { exp: null } }, 'InvalidTokenException'],
    expired: [{ lifetimeMs: -1_000 }, 'ExpiredTokenException'],
    'not yet valid': [
      { claims: { nbf: Math.floor(Date.now() / 1_000) + 3_600 } },
      'InvalidTokenException',
    ],
    'no pod': [{ kubernetes: { pod: null } }, 'InvalidTokenException'],
    'no kubernetes.io claims': [{ claims: { 'kubernetes.io': null } }, 'InvalidTokenException'],
  };
  for (const [name, [options, code]] of Object.entries(unfit)) {
    const answer = await assume(simulator, simulator.kubelet.mint({ pod, ...options }));
    t.match(
      answer,
      { status: 400, headers: { 'x-amzn-errortype': code }, body: { message: String } },
      name,
    );
  }
  t.ok(jwk.n, 'the matrix ran against RSA');
  const parts = pod.token.split('.');
  const claims = JSON.parse(Buffer.from(parts[1] as string, 'base64url').toString());
  const tampered = Buffer.from(JSON.stringify({ ...claims, jti: 'x' })).toString('base64url');
  for (const [name, token, code] of [
    ['tampered', `${parts[0]}.${tampered}.${parts[2]}`, 'InvalidTokenException'],
    ['cut', pod.token.slice(0, -10), 'InvalidTokenException'],
    ['two parts', `${parts[0]}.${parts[1]}`, 'InvalidParameterException'],
    ['empty', '', 'InvalidParameterException'],
  ] as const) {
    const answer = await assume(simulator, token);
    t.match(answer, { status: 400, headers: { 'x-amzn-errortype': code } }, name);
    if (token !== '') t.notMatch(answer.text, token, 'the message does not repeat the token');
  }
  t.equal((await assume(simulator, pod.token)).status, 200, 'the good one still passes');
});

t.test('an audience may be a string, and a node claim may be absent', async (t) => {
  const simulator = await simulatorFor(t);
  const pod = associatedPod(simulator);
  const { kubelet } = simulator;
  const single = kubelet.mint({ pod, claims: { aud: 'pods.eks.amazonaws.com' } });
  t.equal((await assume(simulator, single)).status, 200);
  const bare = kubelet.createPod({ namespace: 'default', serviceAccount: 'web', node: null });
  t.equal((await assume(simulator, bare.token)).status, 200);
});

t.test('refuses what is not there', async (t) => {
  const simulator = await simulatorFor(t);
  const pod = simulator.kubelet.createPod({ namespace: 'default', serviceAccount: 'lonely' });
  t.match(await assume(simulator, pod.token), {
    status: 404,
    headers: { 'x-amzn-errortype': 'ResourceNotFoundException' },
    body: { message: /default\/lonely/ },
  });
  t.match(await assume(simulator, pod.token, { clusterName: 'other' }), {
    status: 404,
    headers: { 'x-amzn-errortype': 'ResourceNotFoundException' },
  });
  t.match(await assume(simulator, pod.token, { body: 'x'.repeat(300_000) }), { status: 413 });
  t.match(await assume(simulator, pod.token, { body: '[]' }), {
    status: 400,
    headers: { 'x-amzn-errortype': 'InvalidParameterException' },
  });
});

t.test('the role has to trust EKS', async (t) => {
  const simulator = await simulatorFor(t);
  const pod = associatedPod(simulator);
  const statement = {
    Effect: 'Allow',
    Principal: { Service: 'pods.eks.amazonaws.com' },
    Action: ['sts:AssumeRole', 'sts:TagSession'] as string | string[],
  };
  const policies: [string, object, boolean][] = [
    ['both actions', {}, true],
    ['all actions', { Action: 'sts:*' }, true],
    ['no sts:TagSession', { Action: 'sts:AssumeRole' }, false],
    ['no sts:AssumeRole', { Action: ['sts:TagSession'] }, false],
    ['another service', { Principal: { Service: 'ec2.amazonaws.com' } }, false],
    ['deny', { Effect: 'Deny' }, false],
    [
      'a condition on a tag that holds',
      {
        Condition: {
          StringEquals: { 'aws:RequestTag/kubernetes-namespace': ['other', 'default'] },
          ArnEquals: { 'aws:SourceArn': simulator.clusterArn },
        },
      },
      true,
    ],
    [
      'a condition on the pod that does not hold',
      { Condition: { StringLike: { 'aws:RequestTag/kubernetes-pod-name': 'api-*' } } },
      false,
    ],
  ];
  for (const [name, change, trusted] of policies) {
    simulator.roles.put(roleArn('web'), { Statement: [{ ...statement, ...change }] });
    const answer = await assume(simulator, pod.token);
    if (trusted) t.equal(answer.status, 200, name);
    else {
      t.match(
        answer,
        {
          status: 400,
          headers: { 'x-amzn-errortype': 'AccessDeniedException' },
          body: { message: /does not have permissions to assume the associated role/ },
        },
        name,
      );
    }
  }
});

t.test('target roles: one hour, and the external id counts', async (t) => {
  const simulator = await simulatorFor(t);
  const { associations, kubelet, roles } = simulator;
  const target = roleArn('target', '444455556666');
  const { externalId } = associations.create({
    namespace: 'default',
    serviceAccount: 'web',
    roleArn: roleArn('web'),
    targetRoleArn: target,
  });
  t.type(externalId, 'string');
  const pod = kubelet.createPod({ namespace: 'default', serviceAccount: 'web' });
  const { body } = await assume(simulator, pod.token);
  t.match(body.assumedRoleUser.arn, /^arn:aws:sts::444455556666:assumed-role\/target\//);
  t.ok(Math.abs(body.credentials.expiration - Date.now() / 1_000 - 3_600) < 60);
  const trust = (id: string | undefined) => ({
    Statement: {
      Effect: 'Allow',
      Principal: { AWS: roleArn('web') },
      Action: 'sts:AssumeRole',
      Condition: { StringEquals: { 'sts:ExternalId': id } },
    },
  });
  roles.put(target, trust(externalId));
  t.equal((await assume(simulator, pod.token)).status, 200);
  roles.put(target, trust('another'));
  t.match(await assume(simulator, pod.token), {
    headers: { 'x-amzn-errortype': 'AccessDeniedException' },
  });
});

t.test('associations reach EKS Auth after their delay', async (t) => {
  const clock = new ManualClock(Date.now());
  const simulator = await simulatorFor(t, { clock, associationDelay: 5_000 });
  const pod = associatedPod(simulator);
  const status = async () => (await assume(simulator, pod.token, { now: clock.now() })).status;
  t.equal(await status(), 404, 'created, not yet seen');
  await clock.advance(4_999);
  t.equal(await status(), 404);
  await clock.advance(1);
  t.equal(await status(), 200);
  const [association] = simulator.associations.list();
  simulator.associations.delete(association?.associationId ?? '');
  t.equal(await status(), 200, 'deleted, still seen');
  simulator.eksAuth.set({ associationDelay: 0 });
  t.equal(await status(), 200, 'a change under way keeps its delay');
  await clock.advance(5_000);
  t.equal(await status(), 404);
});

t.test('latency and quota', async (t) => {
  const clock = new ManualClock(Date.now());
  const simulator = await simulatorFor(t, {
    clock,
    latency: 80,
    quota: { rate: 2, burst: 3 },
    seed: 7,
  });
  const pod = associatedPod(simulator);
  const one = () => assume(simulator, pod.token, { now: clock.now() });
  const calls = Promise.all([one(), one(), one(), one()]);
  while (simulator.counts().assumeRole.calls < 1 || clock.pending < 3) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  await clock.advance(80);
  t.same((await calls).map(({ status }) => status).sort(), [200, 200, 200, 429]);
  t.match(
    (await calls).find(({ status }) => status === 429),
    { headers: { 'x-amzn-errortype': 'ThrottlingException' } },
  );
  t.equal(simulator.counts().peakInFlight, 4);
  await clock.advance(500);
  simulator.eksAuth.set({ latency: { median: 50, sigma: 0.5 } });
  const later = one();
  await clock.waiting();
  await clock.advance(5_000);
  t.equal((await later).status, 200, 'the quota fills again');
  t.throws(() => simulator.eksAuth.set({ quota: { rate: 1, burst: 0 } }), /quota\.burst/);
  t.throws(() => simulator.eksAuth.set({ latency: -1 }), /latency/);
});

t.test('sessions of any length', async (t) => {
  const simulator = await simulatorFor(t, { sessionLifetime: 20_000 });
  const pod = associatedPod(simulator);
  const { body } = await assume(simulator, pod.token);
  const left = body.credentials.expiration - Date.now() / 1_000;
  t.ok(left > 15 && left <= 20);
});

t.test('keys: rotated, unpublished, withdrawn', async (t) => {
  const simulator = await simulatorFor(t);
  const { issuerKeys } = simulator;
  const pod = associatedPod(simulator);
  const before = pod.token;
  const oldKid = issuerKeys.current.kid;
  t.match(oldKid, /^[0-9a-f]{40}$/);
  issuerKeys.rotate({ publish: false });
  pod.rotate();
  t.equal((await assume(simulator, before)).status, 200, 'the old key is still good');
  t.equal((await assume(simulator, pod.token)).status, 400, 'the new one is not published');
  issuerKeys.publish();
  t.equal((await assume(simulator, pod.token)).status, 200);
  issuerKeys.withdraw(oldKid);
  t.equal((await assume(simulator, before)).status, 400, 'even if it was verified before');
  t.throws(() => issuerKeys.withdraw(oldKid), /kid/);
});
