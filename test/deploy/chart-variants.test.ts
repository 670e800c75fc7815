import t from 'tap';
import {
  ALL_VARIANTS,
  type Manifest,
  needsChartTools,
  ofKind,
  parsed,
  podSpec,
  REGION,
  render,
  server,
  variables,
} from './chart.ts';

const skip = needsChartTools();

t.test('what every variant has', { skip }, async (t) => {
  const daemonSets = ofKind(render({ daemonsets: ALL_VARIANTS, ...REGION }), 'DaemonSet');
  t.equal(daemonSets.length, 3);
  const selectors = new Set(daemonSets.map(({ spec }) => JSON.stringify(spec.selector)));
  t.equal(selectors.size, 3, 'selectors of their own');
  for (const daemonSet of daemonSets) {
    t.match(
      daemonSet.spec.template.metadata.labels,
      daemonSet.spec.selector.matchLabels,
      'which their pods have',
    );
    t.match(podSpec(daemonSet), {
      hostNetwork: true,
      dnsPolicy: 'Default',
      priorityClassName: 'system-node-critical',
      automountServiceAccountToken: true,
      tolerations: [{ operator: 'Exists' }],
    });
    const { securityContext, resources, ports, env } = server(daemonSet);
    t.match(securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] },
      seccompProfile: { type: 'RuntimeDefault' },
    });
    t.strictSame(securityContext.capabilities.add, ['NET_BIND_SERVICE']);
    t.notOk(securityContext.privileged);
    t.equal(resources.limits.cpu, undefined, 'no CPU limit');
    t.equal(ports, undefined, 'no ports');
    t.equal(variables({ env }).NODE_NAME, 'spec.nodeName');
    const [init] = podSpec(daemonSet).initContainers;
    t.strictSame(init.args, ['initialize', '--server-uid', String(securityContext.runAsUser)]);
    t.match(init.securityContext, { privileged: true, runAsUser: 0, readOnlyRootFilesystem: true });
  }
});

t.test('variants and their nodes', { skip }, async (t) => {
  const [cloud, hybrid, bottlerocket] = ofKind(
    render({ daemonsets: ALL_VARIANTS, ...REGION }),
    'DaemonSet',
  );
  t.strictSame(
    [cloud, hybrid, bottlerocket].map(({ metadata }) => metadata.name),
    [
      'pod-identity-broker',
      'pod-identity-broker-hybrid',
      'pod-identity-broker-hybrid-bottlerocket',
    ],
  );
  t.match(server(cloud).securityContext, { runAsUser: 64_023, runAsNonRoot: true });
  for (const [daemonSet, folder] of [
    [hybrid, '/eks-hybrid/.aws'],
    [bottlerocket, '/var/eks-hybrid/.aws'],
  ] as const) {
    t.match(server(daemonSet).securityContext, { runAsUser: 0, runAsNonRoot: false });
    t.equal(parsed(server(daemonSet).args).rotateCredentials, true);
    const mount = server(daemonSet).volumeMounts.find(
      ({ name }: Manifest) => name === 'aws-credentials',
    );
    t.match(mount, { mountPath: '/root/.aws', readOnly: true });
    t.equal(variables(server(daemonSet)).AWS_SHARED_CREDENTIALS_FILE, '/root/.aws/credentials');
    const volume = podSpec(daemonSet).volumes.find(
      ({ name }: Manifest) => name === 'aws-credentials',
    );
    t.match(volume.hostPath, { path: folder, type: 'Directory' });
  }
  t.equal(server(bottlerocket).securityContext.seLinuxOptions.type, 'spc_t');

  // Every kind of node is in one variant at most, and Fargate's and Auto Mode's in none.
  const nodes: Readonly<Record<string, [Record<string, string>, number | undefined]>> = {
    'EC2 node': [{}, 0],
    'Bottlerocket on EC2': [{ 'os.bottlerocket.aws/variant': 'x' }, 0],
    'hybrid node': [{ 'eks.amazonaws.com/compute-type': 'hybrid' }, 1],
    'hybrid Bottlerocket': [
      {
        'eks.amazonaws.com/compute-type': 'hybrid',
        'os.bottlerocket.aws/variant': 'x',
        'os.bottlerocket.aws/version': '1',
      },
      2,
    ],
    Fargate: [{ 'eks.amazonaws.com/compute-type': 'fargate' }, undefined],
    'Auto Mode': [{ 'eks.amazonaws.com/compute-type': 'auto' }, undefined],
    Windows: [{ 'kubernetes.io/os': 'windows' }, undefined],
  };
  for (const [name, [labels, expected]] of Object.entries(nodes)) {
    const node = { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'arm64', ...labels };
    const taken = [cloud, hybrid, bottlerocket].flatMap((one, index) =>
      admits(one, node) ? [index] : [],
    );
    t.strictSame(taken, expected === undefined ? [] : [expected], name);
  }
});

/** Whether a DaemonSet's affinity admits a node with these labels. */
function admits(daemonSet: Manifest, labels: Readonly<Record<string, string>>): boolean {
  const [term] =
    podSpec(daemonSet).affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution
      .nodeSelectorTerms;
  return term.matchExpressions.every(({ key, operator, values }: Manifest) => {
    const label = labels[key];
    if (operator === 'In') return label !== undefined && values.includes(label);
    if (operator === 'NotIn') return label === undefined || !values.includes(label);
    return operator === 'Exists' ? label !== undefined : label === undefined;
  });
}

t.test('isolated partitions have a CA bundle of the node’s', { skip }, async (t) => {
  const [daemonSet] = ofKind(render({ env: { AWS_REGION: 'us-isob-east-1' } }), 'DaemonSet');
  const path = '/etc/pki/tls/certs/ca-bundle.crt';
  t.equal(variables(server(daemonSet)).AWS_CA_BUNDLE, path);
  t.ok(server(daemonSet).volumeMounts.some(({ mountPath }: Manifest) => mountPath === path));
  const [other] = ofKind(render({ env: { AWS_REGION: 'us-east-1' } }), 'DaemonSet');
  t.equal(variables(server(other)).AWS_CA_BUNDLE, undefined);
});

t.test('the heap is half of the memory limit', { skip }, async (t) => {
  for (const [limits, heap] of [
    [{ memory: '256Mi' }, '--max-old-space-size=128'],
    [{ memory: '1Gi' }, '--max-old-space-size=512'],
    [{ memory: '500M' }, '--max-old-space-size=238'],
    [null, undefined],
  ] as const) {
    const [daemonSet] = ofKind(render({ resources: { limits } }), 'DaemonSet');
    t.equal(variables(server(daemonSet)).NODE_OPTIONS, heap, JSON.stringify(limits));
  }
  const env = { NODE_OPTIONS: '--max-old-space-size=90' };
  const [daemonSet] = ofKind(render({ env }), 'DaemonSet');
  const given = server(daemonSet).env.filter(({ name }: Manifest) => name === 'NODE_OPTIONS');
  t.strictSame(given, [{ name: 'NODE_OPTIONS', value: env.NODE_OPTIONS }], 'unless it is given');
});
