import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import t from 'tap';
import { ManualClock } from '../support/manual-clock.ts';
import { simulatorFor } from './caller.ts';

interface Claims {
  exp: number;
  jti: string;
  'kubernetes.io': { serviceaccount: { uid: string }; pod: { uid: string }; node?: object };
}

t.test('token files: written, replaced at 80 % of the lifetime, removed', async (t) => {
  const clock = new ManualClock(Date.now());
  const tokenDirectory = t.testdir();
  const simulator = await simulatorFor(t, { clock, tokenDirectory });
  const pod = simulator.kubelet.createPod({
    namespace: 'default',
    serviceAccount: 'web',
    name: 'web-0',
    tokenLifetimeMs: 600_000,
  });
  const file = join(tokenDirectory, 'default', 'web-0', 'eks-pod-identity-token');
  t.equal(pod.tokenFile, file);
  t.equal(readFileSync(file, 'utf8'), pod.token);
  t.equal(statSync(file).mode & 0o777, 0o600);
  const first = pod.token;
  await clock.advance(479_999);
  t.equal(pod.token, first);
  await clock.advance(1);
  t.not(pod.token, first);
  t.equal(readFileSync(file, 'utf8'), pod.token);
  t.equal(decodeJwt<Claims>(pod.token).exp, Math.floor((clock.now() + 600_000) / 1_000));
  pod.rotate();
  t.equal(clock.pending, 1, 'rotating by hand puts the next renewal off');
  pod.delete();
  t.notOk(existsSync(file));
  t.equal(clock.pending, 0);
  t.throws(() => simulator.kubelet.pod('default', 'web-0'), /default\/web-0/);
});

t.test('uids: a pod keeps its own, a recreated service account gets a new one', async (t) => {
  const { kubelet } = await simulatorFor(t);
  const pod = kubelet.createPod({ namespace: 'default', serviceAccount: 'web' });
  const sibling = kubelet.createPod({ namespace: 'default', serviceAccount: 'web' });
  const bound = () => decodeJwt<Claims>(pod.token)['kubernetes.io'];
  const before = bound();
  t.equal(
    decodeJwt<Claims>(sibling.token)['kubernetes.io'].serviceaccount.uid,
    before.serviceaccount.uid,
  );
  t.not(pod.uid, sibling.uid);
  const jti = decodeJwt<Claims>(pod.token).jti;
  kubelet.rotateAll();
  t.not(decodeJwt<Claims>(pod.token).jti, jti);
  t.same(bound(), before);
  const uid = kubelet.recreateServiceAccount('default', 'web');
  t.same(bound(), before, 'old tokens keep the old uid');
  kubelet.rotateAll();
  t.equal(bound().serviceaccount.uid, uid);
  t.not(uid, before.serviceaccount.uid);
  t.equal(bound().pod.uid, pod.uid);
});

t.test('the environment is the webhook’s', async (t) => {
  const { kubelet } = await simulatorFor(t, { region: 'eu-central-1' });
  const pod = kubelet.createPod({ namespace: 'default', serviceAccount: 'web' });
  t.same(pod.environment(), {
    AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://169.254.170.23/v1/credentials',
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE:
      '/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token',
    AWS_STS_REGIONAL_ENDPOINTS: 'regional',
    AWS_DEFAULT_REGION: 'eu-central-1',
    AWS_REGION: 'eu-central-1',
  });
  const uri = 'http://127.0.0.1:8080/v1/credentials';
  t.equal(pod.environment(uri).AWS_CONTAINER_CREDENTIALS_FULL_URI, uri);
});

t.test('what is wrong is named', async (t) => {
  const { kubelet } = await simulatorFor(t);
  const good = { namespace: 'default', serviceAccount: 'web', name: 'web-0' };
  kubelet.createPod(good);
  t.throws(() => kubelet.createPod(good), /name is taken/);
  t.throws(() => kubelet.createPod({ ...good, name: '../x' }), /^name must match/);
  t.throws(() => kubelet.createPod({ ...good, namespace: 'A' }), /namespace/);
  t.throws(() => kubelet.createPod({ namespace: 'a' } as never), /serviceAccount must be a string/);
  t.throws(() => kubelet.createPod({ ...good, tokenLifetimeMs: 1 }), /tokenLifetimeMs/);
  await t.rejects(simulatorFor(t, { account: '1' }), /account must match/);
  await t.rejects(simulatorFor(t, { prot: 1 } as never), /prot is not known/);
});
