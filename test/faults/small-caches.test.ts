import t from 'tap';
import { ask, type Cluster, given, startCluster, total } from './cluster.ts';

// More sessions and tokens than there is room for.

/** The service account that credentials were issued for. */
function owner(cluster: Cluster, accessKeyId: string): string | undefined {
  return cluster.calls().find(({ issuedAccessKeyId }) => issuedAccessKeyId === accessKeyId)
    ?.serviceAccount;
}

t.test('caches that are too small: slower, never wrong', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { keyAlgorithm: 'ES256' });
  const accounts = Array.from({ length: 20 }, (_, index) => `account-${index}`);
  cluster.associate(...accounts);
  const broker = await cluster.broker({ args: ['--max-cache-size=5', '--max-verified-tokens=10'] });
  const pods = accounts.flatMap((account) => [cluster.pod(account), cluster.pod(account)]);
  for (let round = 0; round < 3; round += 1) {
    const replies = await Promise.all(
      pods.map(async (pod) => ({ pod, ...(await given(t, broker, pod.token)) })),
    );
    t.strictSame(
      replies
        .filter(({ pod, body }) => owner(cluster, body.AccessKeyId) !== pod.serviceAccount)
        .map(({ pod }) => pod.name),
      [],
      'each has its own role',
    );
    t.ok((await total(broker, 'pod_identity_broker_sessions')) <= 5);
    t.ok((await total(broker, 'pod_identity_broker_verified_tokens')) <= 10);
  }
  for (const pod of pods.slice(0, 10)) {
    const { status, body } = await ask(broker, pod.token);
    t.equal(status, 200);
    t.equal(owner(cluster, body.AccessKeyId), pod.serviceAccount);
  }
  const metrics = await broker.metrics();
  t.ok((metrics.get('pod_identity_cache_state{state="evicted"}') ?? 0) >= 15);
  t.ok(cluster.calls().length <= 3 * 40 + 10 + 1);
  t.equal(cluster.simulator.counts().doubleFetches.serviceAccount, 0);
});
