import t from 'tap';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { ApiServer, type KubernetesObject } from '../support/api-server.ts';
import { startBroker } from '../support/broker-process.ts';
import { wayTo } from '../support/cut-off.ts';
import { applyManifest } from '../support/manifests.ts';
import { needsApiServer } from '../support/needs.ts';
import { until } from '../support/until.ts';

const skip = needsApiServer();
/** The key that the policy has. */
const KEY = 'pod-identity-broker/not-ready';
const OURS = { key: KEY, effect: 'NoSchedule' };
const OTHER = { key: 'other.example/not-ready', effect: 'NoExecute' };
const BROKER = { namespace: 'kube-system', serviceAccount: 'pod-identity-broker' };

t.test('the start-up taint', { skip, timeout: 300_000 }, async (t) => {
  const api = await ApiServer.start({ t });
  await applyManifest(api, 'startup-taint-rbac');
  for (const name of ['node-1', 'node-2']) {
    await api.node(name, { providerID: `aws:///${name}` });
    // A new node is given a taint by the API server, too.
    const body = { spec: { taints: [OTHER, OURS] } };
    await api.done(`/api/v1/nodes/${name}`, { method: 'PATCH', body });
  }
  const taints = async (node: string): Promise<string[]> => {
    const { spec } = await api.done(`/api/v1/nodes/${node}`);
    return (spec.taints ?? []).map(({ key }: KubernetesObject) => key);
  };
  const tokens = {
    'node-1': await (await api.pod({ ...BROKER, node: 'node-1' })).token(null),
    'node-2': await (await api.pod({ ...BROKER, node: 'node-2' })).token(null),
  };
  /** Patches a node with a broker's token. */
  const patch = async (bearer: string, node: string, body: unknown, contentType?: string) =>
    await api.request(`/api/v1/nodes/${node}`, {
      method: 'PATCH',
      body,
      bearer,
      ...(contentType !== undefined && { contentType }),
    });

  await t.test('what the policy is needed for: roles cannot name a node', async (t) => {
    const spec = { spec: { unschedulable: true } };
    t.equal((await patch(tokens['node-1'], 'node-2', spec)).status, 200);
    await patch(tokens['node-1'], 'node-2', { spec: { unschedulable: null } });
  });

  const [policy] = await applyManifest(api, 'startup-taint-policy');
  await until(async () => {
    const { status } = await patch(tokens['node-2'], 'node-1', {
      metadata: { labels: { a: 'b' } },
    });
    return status === 422 || status === 403;
  }, 'the policy is not in force');

  await t.test('the policy is one that the API server finds nothing wrong with', async (t) => {
    const path = `/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/${policy.metadata.name}`;
    const read = await api.done(path);
    t.strictSame(read.status?.typeChecking?.expressionWarnings ?? [], []);
  });

  await t.test("a stolen broker's token is of no use for another node", async (t) => {
    const removal = { spec: { taints: [OTHER] } };
    const answer = await patch(tokens['node-2'], 'node-1', removal);
    t.equal(answer.status, 422);
    t.match(answer.body.message, /only change the node that its token is bound to/);
    t.strictSame(await taints('node-1'), [OTHER.key, KEY]);

    // A token that is bound to no pod names no node.
    const { status } = await api.done(
      '/api/v1/namespaces/kube-system/serviceaccounts/pod-identity-broker/token',
      { method: 'POST', body: { spec: {} } },
    );
    t.equal((await patch(status.token, 'node-1', removal)).status, 422);
  });

  await t.test('nor for anything else on its own', async (t) => {
    for (const [what, body] of [
      ["another's taint", { spec: { taints: [OURS] } }],
      ['all taints', { spec: { taints: null } }],
      ['a new taint', { spec: { taints: [OTHER, { key: 'mine', effect: 'NoExecute' }] } }],
      ['another effect', { spec: { taints: [{ ...OTHER, effect: 'NoSchedule' }] } }],
      [
        'its own, with another effect',
        { spec: { taints: [OTHER, { ...OURS, effect: 'PreferNoSchedule' }] } },
      ],
      ['cordoning', { spec: { unschedulable: true } }],
      [
        'the addresses of its pods',
        { spec: { taints: [OTHER], podCIDR: '10.0.0.0/24', podCIDRs: ['10.0.0.0/24'] } },
      ],
      ['a label', { metadata: { labels: { zone: 'a' } } }],
      ['an annotation', { metadata: { annotations: { a: 'b' } } }],
      ['a finalizer', { metadata: { finalizers: ['a.example/b'] } }],
      [
        'an owner',
        {
          metadata: { ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'a', uid: 'a' }] },
        },
      ],
    ] as const) {
      t.equal((await patch(tokens['node-1'], 'node-1', body)).status, 422, what);
    }
    const own = { bearer: tokens['node-1'] };
    const applied = await api.request('/api/v1/nodes/node-1?fieldManager=broker&force=true', {
      ...own,
      method: 'PATCH',
      contentType: 'application/apply-patch+yaml',
      body: { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1', labels: { a: 'b' } } },
    });
    t.equal(applied.status, 422, 'server-side apply');
    const whole = await api.done('/api/v1/nodes/node-1');
    const put = { ...own, method: 'PUT', body: { ...whole, spec: { taints: [OTHER] } } };
    t.equal((await api.request('/api/v1/nodes/node-1', put)).status, 403, 'only patches');
    t.equal((await api.request('/api/v1/nodes/node-1', { ...own, method: 'DELETE' })).status, 403);
    const status = { status: { conditions: [] } };
    const asStatus = { ...own, method: 'PATCH', body: status };
    t.equal((await api.request('/api/v1/nodes/node-1/status', asStatus)).status, 403);
    t.strictSame(await taints('node-1'), [OTHER.key, KEY]);
  });

  await t.test('nor where its service account has a role that allows it', async (t) => {
    await api.create('/apis/rbac.authorization.k8s.io/v1/clusterroles', {
      metadata: { name: 'too-much' },
      rules: [{ apiGroups: [''], resources: ['nodes', 'nodes/status'], verbs: ['*'] }],
    });
    await api.create('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'too-much' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'too-much' },
      subjects: [
        { kind: 'ServiceAccount', name: BROKER.serviceAccount, namespace: BROKER.namespace },
      ],
    });
    const own = { bearer: tokens['node-1'] };
    for (const [path, given] of [
      ['node-1', { method: 'DELETE' }],
      ['node-2', { method: 'DELETE' }],
      ['node-1/status', { method: 'PATCH', body: { metadata: { labels: { a: 'b' } } } }],
    ] as const) {
      const answer = await api.request(`/api/v1/nodes/${path}`, { ...own, ...given });
      t.equal(answer.status, 422, `${given.method} ${path}`);
    }
    const body = { metadata: { name: 'node-9' } };
    t.equal((await api.request('/api/v1/nodes', { ...own, method: 'POST', body })).status, 422);
    await api.done('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/too-much', {
      method: 'DELETE',
    });
  });

  await t.test('nor once its pod is gone', async (t) => {
    const pod = await api.pod({ ...BROKER, node: 'node-1' });
    const bearer = await pod.token(null);
    t.equal((await api.request('/api/v1/nodes/node-1', { bearer })).status, 200);
    await pod.delete();
    await until(
      async () => (await api.request('/api/v1/nodes/node-1', { bearer })).status === 401,
      'the token outlives its pod',
    );
  });

  await t.test('others are not concerned', async (t) => {
    const body = { metadata: { labels: { zone: 'a' } } };
    await api.done('/api/v1/nodes/node-2', { method: 'PATCH', body });
    t.strictSame(await taints('node-2'), [OTHER.key, KEY]);
  });

  await t.test('the broker takes it off its node, and nothing else, once it answers', async (t) => {
    const simulator = await startSimulator({ keyAlgorithm: 'ES256' });
    t.teardown(() => simulator.close());
    const way = await wayTo(t, api.port);
    way.close();
    const broker = await startBroker({
      t,
      simulator,
      args: [
        `--startup-taint=${KEY}`,
        `--token-issuer=${simulator.issuer}`,
        `--kubeconfig=${api.kubeconfig(tokens['node-1'], way.port)}`,
      ],
      env: { NODE_NAME: 'node-1' },
    });
    await broker.logged(({ msg }) => msg === 'the start-up taint cannot be removed now');
    t.equal(await broker.probe('readyz'), 200, 'pods are answered all the same');
    t.strictSame(await taints('node-1'), [OTHER.key, KEY]);
    way.open();
    await broker.logged(({ msg }) => msg === 'start-up taint removed');
    t.strictSame(await taints('node-1'), [OTHER.key]);
    t.strictSame(await taints('node-2'), [OTHER.key, KEY]);
    t.equal((await api.done('/api/v1/nodes/node-1')).spec.providerID, 'aws:///node-1');

    // As Karpenter does with a node that it had not registered yet.
    const body = { spec: { taints: [OTHER, OURS] } };
    await api.done('/api/v1/nodes/node-1', { method: 'PATCH', body });
    await until(async () => !(await taints('node-1')).includes(KEY), 'it stays put back');
    t.strictSame(await taints('node-1'), [OTHER.key]);
    await broker.stop();

    const again = await startBroker({
      t,
      simulator,
      args: [
        `--startup-taint=${KEY}`,
        `--token-issuer=${simulator.issuer}`,
        `--kubeconfig=${api.kubeconfig(tokens['node-1'])}`,
      ],
      env: { NODE_NAME: 'node-1' },
    });
    await again.logged(({ msg }) => msg === 'the node has no start-up taint');
    t.strictSame(await taints('node-1'), [OTHER.key]);
    // As a managed node group does, after the node has joined.
    await api.done('/api/v1/nodes/node-1', { method: 'PATCH', body });
    await again.logged(({ msg }) => msg === 'start-up taint removed');
    t.strictSame(await taints('node-1'), [OTHER.key]);
  });

  await t.test('a patch that is made from an old node changes nothing', async (t) => {
    const before = await api.done('/api/v1/nodes/node-2');
    await api.done('/api/v1/nodes/node-2', {
      method: 'PATCH',
      body: { spec: { taints: [{ key: 'newer', effect: 'NoSchedule' }, OTHER, OURS] } },
    });
    const steps = [
      { op: 'test', path: '/metadata/resourceVersion', value: before.metadata.resourceVersion },
      { op: 'remove', path: '/spec/taints/1' },
    ];
    const type = 'application/json-patch+json';
    t.not((await patch(tokens['node-2'], 'node-2', steps, type)).status, 200);
    t.strictSame(await taints('node-2'), ['newer', OTHER.key, KEY]);
  });
});
