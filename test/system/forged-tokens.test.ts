import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { startBroker } from '../support/broker-process.ts';

// Tokens that are forged or unfit, against the whole program with its keys known and proven:
// none is ever answered with credentials, none causes a call, and no answer quotes one.

const DAY = 86_400;

t.test('forged and unfit tokens', async (t) => {
  const simulator = await startSimulator();
  t.teardown(() => simulator.close());
  simulator.associations.create({
    namespace: 'shop',
    serviceAccount: 'cart',
    roleArn: `arn:aws:iam::${simulator.account}:role/cart`,
  });
  const { kubelet } = simulator;
  const node = 'ip-10-0-0-1.ec2.internal';
  const broker = await startBroker({
    simulator,
    t,
    args: [`--token-issuer=${simulator.issuer}`, '--max-pod-qps=0'],
    env: { NODE_NAME: node },
  });
  const pod = kubelet.createPod({ namespace: 'shop', serviceAccount: 'cart', node });
  t.equal((await broker.get(pod.token)).status, 200);
  const before = simulator.counts().assumeRole.calls;

  const now = Math.floor(Date.now() / 1_000);
  const [header = '', payload = '', signature = ''] = pod.token.split('.');
  const kid = simulator.issuerKeys.current.kid;
  const [jwk] = simulator.issuerKeys.jwks().keys;
  const publicPem = createPublicKey({ key: jwk as never, format: 'jwk' })
    .export({ type: 'spki', format: 'pem' })
    .toString();
  const own = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({
    format: 'jwk',
  });
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const altered = encode({
    ...JSON.parse(Buffer.from(payload, 'base64url').toString()),
    exp: now + 10 * DAY,
  });
  const withKubernetes = (kubernetes: Record<string, unknown>) => kubelet.mint({ pod, kubernetes });

  const tokens: Record<string, string> = {
    'wrong key under a known kid': kubelet.mint({ pod, foreignKey: true }),
    'unknown kid': kubelet.mint({ pod, foreignKey: true, header: { kid: 'f'.repeat(40) } }),
    'known key, unknown kid': kubelet.mint({ pod, header: { kid: 'e'.repeat(40) } }),
    'alg none': `${encode({ alg: 'none', kid })}.${payload}.`,
    'alg none with a signature': `${encode({ alg: 'none', kid })}.${payload}.${signature}`,
    'HS256 with the public key': kubelet.mint({
      pod,
      header: { alg: 'HS256' },
      sign: (input: string) => createHmac('sha256', publicPem).update(input).digest('base64url'),
    }),
    'no expiry': kubelet.mint({ pod, claims: { exp: null } }),
    expired: kubelet.mint({ pod, claims: { exp: now - 120 } }),
    'expiry as text': kubelet.mint({ pod, claims: { exp: String(now + DAY) } }),
    'not valid yet': kubelet.mint({ pod, claims: { nbf: now + 120 } }),
    'wrong audience': kubelet.mint({ pod, claims: { aud: ['sts.amazonaws.com'] } }),
    'no audience': kubelet.mint({ pod, claims: { aud: null } }),
    'wrong issuer': kubelet.mint({ pod, claims: { iss: 'https://issuer.example' } }),
    'no issuer': kubelet.mint({ pod, claims: { iss: null } }),
    'subject of another service account': kubelet.mint({
      pod,
      claims: { sub: 'system:serviceaccount:shop:admin' },
    }),
    'no subject': kubelet.mint({ pod, claims: { sub: null } }),
    'no pod': withKubernetes({ pod: null }),
    'pod without uid': withKubernetes({ pod: { name: 'cart-1' } }),
    'no service account': withKubernetes({ serviceaccount: null }),
    'no kubernetes.io': kubelet.mint({ pod, claims: { 'kubernetes.io': null } }),
    "another node's": kubelet.mint({
      pod: kubelet.createPod({ namespace: 'shop', serviceAccount: 'cart', node: 'ip-10-0-0-2' }),
    }),
    'payload altered': `${header}.${altered}.${signature}`,
    'signature altered': `${header}.${payload}.${signature.slice(0, -8)}AAAAAAAA`,
    'signature cut': `${header}.${payload}.${signature.slice(0, 40)}`,
    'signature missing': `${header}.${payload}.`,
    'cut in the payload': pod.token.slice(0, header.length + 100),
    'header alone': header,
    'five parts': `${pod.token}.a.b`,
    crit: kubelet.mint({ pod, header: { crit: ['exp'] } }),
    'embedded jwk': kubelet.mint({ pod, foreignKey: true, header: { jwk: own } }),
    jku: kubelet.mint({ pod, foreignKey: true, header: { jku: 'https://issuer.example/keys' } }),
    x5c: kubelet.mint({ pod, foreignKey: true, header: { x5c: ['MIIB'] } }),
    'with a scheme': `Bearer ${pod.token}`,
    'not a token': 'hello',
    'a long one': `${header}.${'A'.repeat(12_000)}.${signature}`,
  };
  for (const [what, token] of Object.entries(tokens)) {
    const answer = await broker.get(token);
    t.equal(answer.status, 400, what);
    t.match(answer.body, {
      Code: 'InvalidToken',
      Message: /./,
      code: 'InvalidToken',
      message: /./,
    });
    t.notOk(/[\w-]{60}/.test(answer.text), `${what}: nothing of the token is in the answer`);
  }
  t.equal((await broker.get(undefined)).status, 400, 'no token');
  t.equal((await broker.get('')).status, 400, 'an empty one');
  t.equal(simulator.counts().assumeRole.calls, before, 'none caused a call');

  const output = broker.lines.join('\n') + broker.stderr();
  for (const token of [pod.token, ...Object.values(tokens)]) {
    for (const part of token.split('.').filter((text) => text.length > 40)) {
      t.notOk(output.includes(part.slice(0, 60)), 'the log holds no token');
    }
  }
  t.equal((await broker.get(pod.token)).status, 200, 'and the good one is as good as before');
});
