import { readdirSync, readFileSync } from 'node:fs';
import { Command } from 'commander';
import t from 'tap';
import { addServerOptions, serverConfig } from '../../src/config/server-options.ts';
import {
  faults,
  helmTemplate,
  type Manifest,
  needsChartTools,
  ofKind,
  parseManifests,
  REQUIRED,
  render,
  renderText,
  type Values,
} from './chart.ts';

const skip = needsChartTools();
const version = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
).version;

/** Nodes of the hybrid variants have nobody who names it. */
const REGION = { env: { AWS_REGION: 'eu-central-1' } };
const ALL_VARIANTS = {
  cloud: { create: true },
  hybrid: { create: true },
  'hybrid-bottlerocket': { create: true },
};

/** Values that between them use everything that there is. */
const COMBINATIONS: Readonly<Record<string, Values>> = {
  defaults: {},
  'all variants': { daemonsets: ALL_VARIANTS, ...REGION },
  everything: {
    daemonsets: {
      cloud: {
        create: true,
        nameSuffix: 'ec2',
        affinity: { nodeAffinity: {} },
        additionalArgs: { '--max-pod-qps': 50 },
        volumes: [{ name: 'keys', emptyDir: {} }],
        volumeMounts: [{ name: 'keys', mountPath: '/keys' }],
        additionalSecurityContext: { seLinuxOptions: { type: 'spc_t' } },
      },
      hybrid: { create: true },
      'hybrid-bottlerocket': { create: true },
    },
    image: { ...REQUIRED.image, digest: `sha256:${'0'.repeat(64)}`, pullPolicy: 'Always' },
    imagePullSecrets: [{ name: 'pull' }],
    agent: {
      additionalArgs: { '-v': 'trace', '--pod-scope': ['a', 'b/c'], '--rotate-credentials': true },
      probePort: 2704,
      advertiseProxyPort: true,
    },
    init: { additionalArgs: { '-v': 'trace' }, privileged: false },
    sessionScope: 'pod',
    podScope: ['shop', 'bank/till'],
    watchPods: 'enforce',
    strictAddress: true,
    startupTaint: 'example.com/not-ready',
    env: { AWS_REGION: 'us-iso-east-1', HTTPS_PROXY: 'http://proxy:3128', NUMBER: 1 },
    redis: {
      url: 'rediss+sentinel://a:1,b:2/primary',
      secretName: 'broker-redis',
      keyEntry: 'sealing',
      passwordEntry: 'password',
      caEntry: 'ca.crt',
      username: 'broker',
      sentinelPasswordEntry: 'sentinel-password',
      sentinelUsername: 'watcher',
      budget: '30ms',
    },
    otel: { endpoint: 'http://$(HOST_IP):4318', sampler: 'traceidratio', samplerArg: 0.1 },
    metrics: {
      port: 2706,
      extraLabels: { 'prometheus.io/port': 2706 },
      serviceMonitor: { enabled: true, interval: '30s', extraLabels: { release: 'prometheus' } },
    },
    nodeSelector: { 'pod-identity': 'broker' },
    podAnnotations: { a: 'b' },
    podLabels: { c: 'd' },
    serviceAccount: { name: 'other', annotations: { e: 'f' } },
    nameOverride: 'short',
    fullnameOverride: '',
    resources: { limits: { memory: '1Gi', cpu: 1 } },
  },
  'without what can be left out': {
    init: { create: false },
    watchPods: 'off',
    agent: { livenessEndpoint: '', readinessEndpoint: '' },
    metrics: { enabled: false },
    serviceAccount: { create: false },
    resources: { limits: null, requests: null },
    tolerations: null,
  },
  'to be removed': { removeFromNodes: true, redis: { url: 'redis://host', secretName: 'redis' } },
  surge: {
    updateStrategy: {
      type: 'RollingUpdate',
      rollingUpdate: { maxSurge: 1, maxUnavailable: 0 },
    },
  },
};

t.test('every combination is what the API knows', { skip }, async (t) => {
  for (const [name, values] of Object.entries(COMBINATIONS)) {
    const manifests = render(values);
    t.ok(ofKind(manifests, 'DaemonSet').length > 0, name);
    t.strictSame(faults(manifests), [], name);
  }
  const [wrong] = ofKind(render({}), 'DaemonSet');
  wrong.spec.template.spec.dnsPolice = 'Default';
  t.match(faults([wrong]), [/dnsPolice/], 'and a fault would be found');
});

t.test('the flags of every combination are those of `server`', { skip }, async (t) => {
  for (const [name, values] of Object.entries(COMBINATIONS)) {
    if (values.removeFromNodes === true) continue;
    for (const daemonSet of ofKind(render(values), 'DaemonSet')) {
      const config = parsed(server(daemonSet).args);
      t.equal(config.clusterName, 'my-cluster', `${name}: ${daemonSet.metadata.name}`);
    }
  }
  const [cloud, hybrid] = ofKind(render(COMBINATIONS.everything as Values), 'DaemonSet').map(
    (daemonSet) => parsed(server(daemonSet).args),
  );
  t.match(cloud, {
    probePort: 2_704,
    metricsPort: 2_706,
    sessionScope: 'pod',
    watchPods: 'enforce',
    strictAddress: true,
    startupTaint: 'example.com/not-ready',
    redis: {
      target: { kind: 'sentinel', tls: true },
      sharing: 'node',
      keyFile: '/etc/pod-identity-broker/redis/sealing',
      passwordFile: '/etc/pod-identity-broker/redis/password',
      caFile: '/etc/pod-identity-broker/redis/ca.crt',
      username: 'broker',
      sentinelPasswordFile: '/etc/pod-identity-broker/redis/sentinel-password',
      sentinelUsername: 'watcher',
      budget: 30,
    },
    verbosity: 'trace',
    maxPodQps: 50,
    rotateCredentials: true,
    podScope: [
      { namespace: 'shop' },
      { namespace: 'bank', serviceAccount: 'till' },
      { namespace: 'a' },
      { namespace: 'b', serviceAccount: 'c' },
    ],
  });
  t.equal(hybrid?.maxPodQps, 200, 'a variant’s own flags are its own');
});

t.test('removed from nodes: one ends before the other begins', { skip }, async (t) => {
  const daemonsets = { hybrid: { create: true } };
  const env = { AWS_REGION: 'eu-west-1' };
  const given = render({ daemonsets, env });
  const removing = render({ daemonsets, env, removeFromNodes: true });
  const identity = ({ kind, metadata, spec }: Manifest) => [kind, metadata.name, spec?.selector];
  t.strictSame(removing.map(identity), given.map(identity), 'they take the place of the others');
  for (const { metadata, spec } of ofKind(removing, 'DaemonSet')) {
    t.match(spec.updateStrategy, { rollingUpdate: { maxSurge: 0, maxUnavailable: '100%' } });
    const { initContainers, containers, volumes, automountServiceAccountToken } =
      spec.template.spec;
    t.match(initContainers, [{ args: ['initialize', '--remove'] }], metadata.name);
    t.strictSame(
      containers.map(({ name }: Manifest) => name),
      ['removed'],
    );
    t.strictSame(
      volumes.map(({ name }: Manifest) => name),
      ['run'],
      'nothing that may be gone',
    );
    t.equal(automountServiceAccountToken, false);
  }
});

/** Reads the arguments of a container as the program does. */
function parsed(args: readonly string[]) {
  t.equal(args[0], 'server');
  const command = addServerOptions(new Command('server')).exitOverride();
  command.parse(args.slice(1), { from: 'user' });
  return serverConfig(command, { NODE_NAME: 'node' });
}

function podSpec(daemonSet: Manifest): Manifest {
  return daemonSet.spec.template.spec;
}

function server(daemonSet: Manifest): Manifest {
  return podSpec(daemonSet).containers[0];
}

/** The values of a container's variables. */
function variables(container: Manifest): Record<string, string> {
  return Object.fromEntries(
    container.env.map((one: Manifest) => [one.name, one.value ?? one.valueFrom.fieldRef.fieldPath]),
  );
}

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

t.test('values of the existing chart that mean the same', { skip }, async (t) => {
  const manifests = render({
    agent: { additionalArgs: { '-v': 'trace' }, advertiseProxyPort: true, probePort: 2710 },
    init: { additionalArgs: { '-v': 'trace' }, create: true },
    env: { AWS_REGION: 'eu-central-1' },
    affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
    metrics: { enabled: true, port: 2711, serviceMonitor: { enabled: true, interval: '5s' } },
    tolerations: [{ key: 'a', operator: 'Exists' }],
    priorityClassName: 'high',
    podLabels: { team: 'platform' },
    updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } },
  });
  const [daemonSet] = ofKind(manifests, 'DaemonSet');
  t.match(server(daemonSet), {
    ports: [{ containerPort: 80 }, { containerPort: 2710 }, { containerPort: 2711 }],
    readinessProbe: {
      httpGet: { host: 'localhost', path: /^\/readyz\/[0-9a-f]{16}$/, port: 2710 },
    },
    livenessProbe: { httpGet: { host: 'localhost', path: '/healthz', port: 2710 } },
  });
  t.equal(variables(server(daemonSet)).AWS_REGION, 'eu-central-1');
  t.match(parsed(server(daemonSet).args), { verbosity: 'trace', probePort: 2_710 });
  t.match(podSpec(daemonSet).initContainers[0].args.slice(-2), ['-v', 'trace']);
  t.match(podSpec(daemonSet), {
    priorityClassName: 'high',
    tolerations: [{ key: 'a' }],
    affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
  });
  t.equal(podSpec(daemonSet).affinity.nodeAffinity.required, undefined);
  t.strictSame(daemonSet.spec.updateStrategy, {
    type: 'RollingUpdate',
    rollingUpdate: { maxUnavailable: '10%' },
  });
  const [monitor] = ofKind(manifests, 'ServiceMonitor');
  const [service] = ofKind(manifests, 'Service');
  t.match(monitor.spec.endpoints, [{ port: 'metrics', interval: '5s', path: '/metrics' }]);
  t.match(service.metadata.labels, monitor.spec.selector.matchLabels, 'finds the service');
  t.match(daemonSet.spec.template.metadata.labels, service.spec.selector, 'which finds the pods');
  t.match(service.spec.ports, [{ name: 'metrics', port: 2711 }]);
  t.equal(daemonSet.spec.template.metadata.annotations['prometheus.io/port'], '2711');
});

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

t.test('Redis: its secret is for the server’s user alone', { skip }, async (t) => {
  const redis = { url: 'redis://host', secretName: 'broker-redis' };
  const [daemonSet] = ofKind(render({ redis }), 'DaemonSet');
  const named = ({ name }: Manifest) => name === 'redis';
  t.match(podSpec(daemonSet).volumes.find(named).secret, {
    secretName: 'broker-redis',
    defaultMode: 0o440,
  });
  t.equal(podSpec(daemonSet).securityContext.fsGroup, server(daemonSet).securityContext.runAsUser);
  t.match(server(daemonSet).volumeMounts.find(named), { readOnly: true });
  const [without] = ofKind(render({}), 'DaemonSet');
  t.notMatch(JSON.stringify(without), 'redis');
});

t.test('the key of a Redis of the node’s own is a file of the node', { skip }, async (t) => {
  const redis = { url: 'redis://127.0.0.1', keyHostPath: '/etc/broker/key' };
  const [daemonSet] = ofKind(render({ redis }), 'DaemonSet');
  const named = ({ name }: Manifest) => name.startsWith('redis');
  t.strictSame(podSpec(daemonSet).volumes.filter(named), [
    { name: 'redis-key', hostPath: { path: '/etc/broker/key', type: 'File' } },
  ]);
  const [mount] = server(daemonSet).volumeMounts.filter(named);
  t.equal(mount.readOnly, true);
  t.match(parsed(server(daemonSet).args), { redis: { keyFile: mount.mountPath } });

  const both = { ...redis, secretName: 'redis', passwordEntry: 'password' };
  const [other] = ofKind(render({ redis: both }), 'DaemonSet');
  t.match(parsed(server(other).args), {
    redis: {
      keyFile: mount.mountPath,
      passwordFile: '/etc/pod-identity-broker/redis/password',
    },
  });
});

t.test('the examples of values', { skip }, async (t) => {
  const folder = new URL('../../deploy/chart/examples/', import.meta.url);
  const redis = Object.fromEntries(
    readdirSync(folder).map((file) => {
      const manifests = renderText(readFileSync(new URL(file, folder), 'utf8'));
      t.strictSame(faults(manifests), [], file);
      const [daemonSet] = ofKind(manifests, 'DaemonSet');
      return [file, parsed(server(daemonSet).args).redis];
    }),
  );
  t.match(redis, {
    'redis-none.yaml': undefined,
    'redis-node.yaml': { target: { kind: 'server', tls: false }, sharing: 'node' },
    'redis-shared.yaml': { target: { kind: 'server', tls: true }, sharing: 'cluster' },
  });
});

t.test('numbers and booleans are text where they have to be', { skip }, async (t) => {
  const manifests = render({
    podLabels: { build: 20_260_101, canary: true, share: 0.5 },
    podAnnotations: { build: 20_260_101, canary: false },
    serviceAccount: { annotations: { number: 7_000_000, on: true } },
    env: { SECONDS: 86_400_000, RATE: 0.25, FLAG: true },
    agent: { additionalArgs: { '--max-verified-tokens': 1_000_000 } },
    init: { additionalArgs: { '--server-uid': 1_000_000 } },
    image: { ...REQUIRED.image, tag: 20_260_101 },
    metrics: { extraLabels: { build: 20_260_101 }, serviceMonitor: { enabled: true } },
    resources: { limits: { memory: 335_544_320 } },
    otel: { endpoint: 'http://127.0.0.1:4318', samplerArg: 1 },
  });
  t.strictSame(faults(manifests), []);
  const [daemonSet] = ofKind(manifests, 'DaemonSet');
  const { labels, annotations } = daemonSet.spec.template.metadata;
  t.match(labels, { build: '20260101', canary: 'true', share: '0.5' });
  t.match(annotations, { build: '20260101', canary: 'false' });
  t.strictSame(ofKind(manifests, 'ServiceAccount')[0].metadata.annotations, {
    number: '7000000',
    on: 'true',
  });
  t.match(variables(server(daemonSet)), {
    SECONDS: '86400000',
    RATE: '0.25',
    FLAG: 'true',
    NODE_OPTIONS: '--max-old-space-size=160',
    OTEL_TRACES_SAMPLER_ARG: '1',
  });
  t.match(parsed(server(daemonSet).args), { maxVerifiedTokens: 1_000_000 });
  t.match(podSpec(daemonSet).initContainers[0].args.slice(-2), ['--server-uid', '1000000']);
  t.match(server(daemonSet).image, /:20260101$/);
  t.match(ofKind(manifests, 'Service')[0].metadata.labels, { build: '20260101' });
});

t.test('off, as it is written in YAML', { skip }, async (t) => {
  const [daemonSet] = ofKind(
    renderText(`${JSON.stringify(REQUIRED).slice(0, -1)}, "watchPods": off}`),
    'DaemonSet',
  );
  t.equal(parsed(server(daemonSet).args).watchPods, 'off');
  t.equal(podSpec(daemonSet).automountServiceAccountToken, false);
});

t.test('what is given takes the place of what a variant has', { skip }, async (t) => {
  const [daemonSet] = ofKind(
    render({
      ...REGION,
      daemonsets: {
        cloud: { create: false },
        hybrid: {
          create: true,
          additionalArgs: { '--rotate-credentials': false },
          volumes: [{ name: 'aws-credentials', hostPath: { path: '/other', type: 'Directory' } }],
          additionalSecurityContext: { runAsUser: 1_000_001, capabilities: { drop: ['NET_RAW'] } },
        },
      },
    }),
    'DaemonSet',
  );
  const named = ({ name }: Manifest) => name === 'aws-credentials';
  t.match(podSpec(daemonSet).volumes.filter(named), [{ hostPath: { path: '/other' } }]);
  t.equal(parsed(server(daemonSet).args).rotateCredentials, false);
  const { securityContext } = server(daemonSet);
  t.match(securityContext, { runAsUser: 1_000_001, readOnlyRootFilesystem: true });
  t.strictSame(securityContext.capabilities, { drop: ['NET_RAW'], add: ['NET_BIND_SERVICE'] });
  t.match(podSpec(daemonSet).initContainers[0].args, ['initialize', '--server-uid', '1000001']);
});

t.test('the next pod starts beside the old one, unless told otherwise', { skip }, async (t) => {
  const rollingUpdate = { maxUnavailable: '5%' };
  for (const [values, expected] of [
    [{}, { type: 'RollingUpdate', rollingUpdate: { maxSurge: '10%', maxUnavailable: 0 } }],
    [{ updateStrategy: { rollingUpdate } }, { rollingUpdate }],
    [{ updateStrategy: { type: 'OnDelete' } }, { type: 'OnDelete' }],
    [
      { agent: { advertiseProxyPort: true } },
      { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } },
    ],
  ] as const) {
    const [daemonSet] = ofKind(render(values), 'DaemonSet');
    t.strictSame(daemonSet.spec.updateStrategy, expected);
    const surges = 'maxSurge' in (daemonSet.spec.updateStrategy.rollingUpdate ?? {});
    if (surges) t.equal(server(daemonSet).ports, undefined, 'host ports would keep it away');
    t.type(server(daemonSet).readinessProbe.httpGet.port, 'number');
    // What the one tells the other goes through a folder of the node.
    t.match(podSpec(daemonSet).volumes[0].hostPath, { path: '/run/pod-identity-broker' });
  }
});

t.test('readiness is asked of the pod’s own process', { skip }, async (t) => {
  const seen = new Set<string>();
  for (const values of [
    { daemonsets: ALL_VARIANTS, ...REGION },
    { image: { ...REQUIRED.image, tag: '0.2.0' } },
    { sessionScope: 'pod' },
  ]) {
    for (const daemonSet of ofKind(render(values), 'DaemonSet')) {
      const { args, readinessProbe, livenessProbe } = server(daemonSet);
      const { readyId } = parsed(args);
      t.equal(readinessProbe.httpGet.path, `/readyz/${readyId}`);
      t.equal(livenessProbe.httpGet.path, '/healthz');
      t.notOk(seen.has(readyId ?? ''), 'which no other pod template has');
      seen.add(readyId ?? '');
    }
  }
  t.equal(seen.size, 5);
  const agent = { readinessEndpoint: '/healthz' };
  const [other] = ofKind(render({ agent }), 'DaemonSet');
  t.equal(server(other).readinessProbe.httpGet.path, '/healthz', 'another path is asked as it is');
  t.equal(parsed(server(other).args).readyId, undefined);
});

t.test('nothing that does not apply to pods on the host’s network', { skip }, async (t) => {
  const kinds = render(COMBINATIONS.everything as Values).map(({ kind }) => kind);
  t.notOk(kinds.includes('NetworkPolicy'));
  t.notOk(kinds.includes('PodDisruptionBudget'));
});

t.test('rights come with the features that need them', { skip }, async (t) => {
  for (const [values, rules] of [
    [{ watchPods: 'off' }, {}],
    [{}, { pods: ['get', 'list', 'watch'] }],
    [{ watchPods: 'enforce' }, { pods: ['get', 'list', 'watch'] }],
    [{ watchPods: 'off', startupTaint: 'a/b' }, { nodes: ['get', 'patch'] }],
  ] as const) {
    const manifests = render({ ...values, ...REGION, daemonsets: ALL_VARIANTS });
    const given = ofKind(manifests, 'ClusterRole').flatMap((role) => role.rules);
    t.strictSame(
      Object.fromEntries(given.map(({ resources, verbs }: Manifest) => [resources[0], verbs])),
      rules,
      JSON.stringify(values),
    );
    for (const daemonSet of ofKind(manifests, 'DaemonSet')) {
      t.equal(podSpec(daemonSet).automountServiceAccountToken, given.length > 0);
    }
    t.equal(
      ofKind(manifests, 'ValidatingAdmissionPolicy').length,
      'startupTaint' in values ? 1 : 0,
      'rights over nodes never come without the policy',
    );
  }
});

t.test('rights and policy are those of the plain manifests', { skip }, async (t) => {
  const made = render({ startupTaint: 'pod-identity-broker/not-ready' });
  for (const file of ['watch-pods-rbac', 'startup-taint-rbac', 'startup-taint-policy']) {
    const path = new URL(`../../deploy/manifests/${file}.yaml`, import.meta.url);
    for (const manifest of parseManifests(readFileSync(path, 'utf8'))) {
      const { kind, metadata } = manifest;
      const same = made.find((one) => one.kind === kind && one.metadata.name === metadata.name);
      if (same !== undefined) delete same.metadata.labels;
      t.strictSame(same, manifest, `${file}: ${kind}`);
    }
  }
});

t.test('the policy is about the release’s own account and taint', { skip }, async (t) => {
  const manifests = render({ startupTaint: 'a.b/c', serviceAccount: { name: 'other' } });
  const [policy] = ofKind(manifests, 'ValidatingAdmissionPolicy');
  const [binding] = ofKind(manifests, 'ValidatingAdmissionPolicyBinding');
  t.match(policy.spec.matchConditions[0].expression, "'system:serviceaccount:kube-system:other'");
  t.match(policy.spec.variables, [{ name: 'key', expression: "'a.b/c'" }]);
  t.equal(binding.spec.policyName, policy.metadata.name);
  for (const { subjects } of ofKind(manifests, 'ClusterRoleBinding')) {
    t.strictSame(subjects, [{ kind: 'ServiceAccount', name: 'other', namespace: 'kube-system' }]);
  }
  t.equal(podSpec(ofKind(manifests, 'DaemonSet')[0]).serviceAccountName, 'other');
});

t.test('names the image of this version', { skip }, async (t) => {
  const [daemonSet] = ofKind(render({}), 'DaemonSet');
  t.equal(server(daemonSet).image, `${REQUIRED.image.repository}:${version}`);
  const chart = readFileSync(new URL('../../deploy/chart/Chart.yaml', import.meta.url), 'utf8');
  t.match(chart, new RegExp(`^version: ${version}$`, 'm'));
  t.match(chart, new RegExp(`^appVersion: ${version}$`, 'm'));
});

/** Values that are refused, and what the message has to say. */
const REFUSED: readonly (readonly [Values, ...RegExp[]])[] = [
  [{ clusterName: '' }, /clusterName/],
  [{ clusterName: 'a b' }, /clusterName/],
  [{ clusterName: 'EKS_CLUSTER_NAME' }, /clusterName: .*name of your cluster/],
  [{ env: { AWS_REGION: 'AWS_REGION_NAME' } }, /env\.AWS_REGION: .*your region/],
  [{ image: {} }, /image\.repository: is required/],
  [
    { image: { containerRegistry: '602401143452.dkr.ecr.us-west-2.amazonaws.com' } },
    /image\.containerRegistry: .*write image\.repository/,
  ],
  [{ image: { ...REQUIRED.image, region: 'us-west-2' } }, /image\.region: .*leave it out/],
  [
    { image: { override: 'mirror.example/eks/eks-pod-identity-agent:v0.1.20' } },
    /image\.override: .*write image\.repository/,
  ],
  [{ image: { repository: 'x/eks-pod-identity-agent' } }, /image\.repository: names the existing/],
  [
    { agent: { command: "['/go-runner', '/eks-pod-identity-agent', 'server']" } },
    /agent\.command: .*agent\.additionalArgs/,
  ],
  [{ init: { command: ['initialize'] } }, /init\.command: .*init\.additionalArgs/],
  [{ agent: { metrics: { port: 1 } } }, /agent\.metrics: write metrics/],
  [
    {
      agent: { advertiseProxyPort: true },
      updateStrategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    },
    /agent\.advertiseProxyPort: .*write false/,
  ],
  [{ podLivenessCheck: { enabled: true }, watchPods: 'audit' }, /podLivenessCheck\.enabled: /],
  [{ podLivenessCheck: { enabled: true }, watchPods: 'off' }, /podLivenessCheck\.enabled: /],
  [{ daemonsets: { hybrid: { create: true } } }, /env\.AWS_REGION: is required.*\.hybrid/],
  [
    { daemonsets: { 'hybrid-bottlerocket': { create: true } }, env: { AWS_REGION: '' } },
    /env\.AWS_REGION: is required.*\.hybrid-bottlerocket/,
  ],
  [
    { daemonsets: { hybrid: { create: true } }, env: { AWS_REGION: 'AWS_REGION_NAME' } },
    /env\.AWS_REGION: .*your region; write its name$/m,
  ],
  [{ image: { ...REQUIRED.image, tag: 'v1.3.8-eksbuild.2' } }, /image\.tag: .*leave it out/],
  [{ fullnameOverride: 'eks-pod-identity-agent' }, /fullnameOverride: .*leave it out/],
  [{ nameOverride: 'eks-pod-identity-agent' }, /nameOverride: .*leave it out/],
  [{ strictAddress: true, watchPods: 'off' }, /strictAddress: needs watchPods/],
  [
    { serviceAccount: { create: false } },
    /serviceAccount: watchPods: audit \(the default\) .*serviceAccount\.create: true.*watchPods: off/,
  ],
  [
    { serviceAccount: { create: false, name: '' }, watchPods: 'off', startupTaint: 'a' },
    /serviceAccount: startupTaint needs rights.*the name of an account$/m,
  ],
  [{ serviceAccount: { name: "x'||'" } }, /serviceAccount.*name/],
  [{ startupTaint: "a'" }, /startupTaint/],
  [{ watchPods: 'on' }, /watchPods/],
  [{ redis: { url: 'redis://host' } }, /redis\.secretName: redis\.url needs it/],
  [
    { redis: { url: 'redis://host', secretName: 'x', sharing: 'cluster' }, sessionScope: 'pod' },
    /redis\.sharing: .*write node/,
  ],
  [{ redis: { secretName: 'x' } }, /redis\.url: redis\.secretName/],
  [{ redis: { keyHostPath: '/key' } }, /redis\.url: redis\.keyHostPath/],
  [{ redis: { url: 'redis://host', keyHostPath: 'key' } }, /keyHostPath/],
  [
    { redis: { url: 'redis://host', keyHostPath: '/key', caEntry: 'ca.crt' } },
    /redis\.secretName: redis\.caEntry needs it/,
  ],
  [
    { redis: { url: 'redis+sentinel://a/main', keyHostPath: '/key', sentinelPasswordEntry: 'p' } },
    /redis\.secretName: redis\.sentinelPasswordEntry needs it/,
  ],
  [
    { redis: { url: 'redis+sentinel://a/main', secretName: 'x', sentinelUsername: 'me' } },
    /redis\.sentinelPasswordEntry: redis\.sentinelUsername needs it/,
  ],
  [
    { redis: { url: 'redis://host', secretName: 'x', username: 'me' } },
    /redis\.passwordEntry: redis\.username needs it/,
  ],
  [
    { redis: { url: 'redis://host', secretName: 'x', sentinelPasswordEntry: 'p' } },
    /redis\.url: redis\.sentinelPasswordEntry is for a URL with \+sentinel/,
  ],
  [{ redis: { url: 'http://host', secretName: 'x' } }, /redis.*url/],
  [{ redis: { url: 'redis://me:secret@host', secretName: 'x' } }, /redis.*url/],
  [{ resources: { limits: { memory: '0.5Gi' } } }, /resources\.limits\.memory/],
  [{ sessionScope: 'node' }, /sessionScope/],
  [{ podScope: ['Shop'] }, /podScope/],
  [{ agent: { probePort: 70_000 } }, /probePort/],
  [{ agent: { additionalArgs: ['-v'] } }, /additionalArgs/],
  [{ agent: { additionalArgs: { verbosity: 'trace' } } }, /additionalArgs|verbosity/],
  [{ metrics: { port: 'x' } }, /metrics.*port/],
  [{ dnsPolicy: 'None' }, /dnsPolicy/],
  [{ daemonsets: { windows: { create: true } } }, /windows/],
  [{ sessionscope: 'pod' }, /sessionscope/],
  [{ otel: { endpoint: 'collector:4318' } }, /otel.*endpoint/],
];

t.test('a wrong value is refused, by its name', { skip }, async (t) => {
  for (const [values, ...messages] of REFUSED) {
    const { code, stderr } = helmTemplate({ ...REQUIRED, ...values });
    t.not(code, 0, JSON.stringify(values));
    for (const message of messages) t.match(stderr, message);
  }
});
