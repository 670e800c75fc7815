import { createRemoteJWKSet, jwtVerify } from 'jose';
import t from 'tap';
import { assume, roleArn, simulatorFor } from './caller.ts';

for (const keyAlgorithm of ['RS256', 'ES256'] as const) {
  t.test(`${keyAlgorithm} tokens verify by the published keys`, async (t) => {
    const simulator = await simulatorFor(t, { keyAlgorithm });
    const { issuer, kubelet } = simulator;
    t.match(issuer, /^http:\/\/127\.0\.0\.1:\d+\/id\/[0-9A-F]{32}$/);
    const discovery = await fetch(`${issuer}/.well-known/openid-configuration`);
    const configuration = (await discovery.json()) as { jwks_uri: string };
    t.match(configuration, {
      issuer,
      jwks_uri: `${issuer}/keys`,
      id_token_signing_alg_values_supported: [keyAlgorithm],
    });
    const keys = createRemoteJWKSet(new URL(configuration.jwks_uri));
    const pod = kubelet.createPod({ namespace: 'shop', serviceAccount: 'web', name: 'web-0' });
    const { payload, protectedHeader } = await jwtVerify(pod.token, keys, {
      issuer,
      audience: 'pods.eks.amazonaws.com',
    });
    t.strictSame(protectedHeader, { alg: keyAlgorithm, kid: simulator.issuerKeys.current.kid });
    t.match(payload, {
      aud: ['pods.eks.amazonaws.com'],
      sub: 'system:serviceaccount:shop:web',
      iat: Number,
      nbf: payload.iat,
      exp: (payload.iat ?? 0) + 86_400,
      jti: /^[0-9a-f-]{36}$/,
      'kubernetes.io': {
        namespace: 'shop',
        serviceaccount: { name: 'web', uid: kubelet.serviceAccountUid('shop', 'web') },
        pod: { name: 'web-0', uid: pod.uid },
        node: { name: 'ip-10-0-0-10.ec2.internal', uid: /^[0-9a-f-]{36}$/ },
      },
    });
  });
}

t.test('the key set follows rotation and withdrawal', async (t) => {
  const { issuer, issuerKeys } = await simulatorFor(t);
  const kids = async () => {
    const response = await fetch(`${issuer}/keys`);
    return ((await response.json()) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid);
  };
  const first = issuerKeys.current.kid;
  const second = issuerKeys.rotate();
  t.same(await kids(), [second, first]);
  issuerKeys.withdraw(first);
  t.same(await kids(), [second]);
  t.equal((await fetch(`${issuer}/keys`, { method: 'POST' })).status, 405);
  t.equal((await fetch(`${issuer}/other`)).status, 404);
});

t.test('an issuer by another name', async (t) => {
  const issuer = 'https://oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF';
  const simulator = await simulatorFor(t, { issuer });
  t.equal(simulator.issuer, issuer);
  const response = await fetch(`${simulator.url}/id/0123456789ABCDEF0123456789ABCDEF/keys`);
  t.equal(response.status, 200);
});

t.test("a real API server's keys are published beside its own", async (t) => {
  const simulator = await simulatorFor(t, { keyAlgorithm: 'ES256' });
  const other = await simulatorFor(t, { keyAlgorithm: 'RS256', issuer: simulator.issuer });
  const pod = { namespace: 'shop', serviceAccount: 'cart' };
  simulator.associations.create({ ...pod, roleArn: roleArn('cart') });
  const { token } = other.kubelet.createPod(pod);
  t.match(await assume(simulator, token), { status: 400 });
  simulator.issuerKeys.adopt(other.issuerKeys.jwks());
  t.match(await assume(simulator, token), { status: 200 });
  t.equal(simulator.issuerKeys.jwks().keys.length, 2);
  t.throws(() => simulator.issuerKeys.adopt({ keys: [{ kid: 'a', alg: 'HS256' }] }), TypeError);
  t.throws(() => simulator.issuerKeys.adopt({ keys: [{ alg: 'RS256' }] }), TypeError);
});
