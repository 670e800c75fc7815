import { readFileSync } from 'node:fs';
import t from 'tap';
import {
  ALL_VARIANTS,
  faults,
  needsChartTools,
  ofKind,
  parsed,
  REGION,
  REQUIRED,
  render,
  server,
  type Values,
} from './chart.ts';

const skip = needsChartTools();
const version = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
).version;

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
    resources: null,
    priorityClassName: '',
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

t.test('names the image of this version', { skip }, async (t) => {
  const [daemonSet] = ofKind(render({}), 'DaemonSet');
  t.equal(server(daemonSet).image, `${REQUIRED.image.repository}:${version}`);
  const chart = readFileSync(new URL('../../deploy/chart/Chart.yaml', import.meta.url), 'utf8');
  t.match(chart, new RegExp(`^version: ${version}$`, 'm'));
  t.match(chart, new RegExp(`^appVersion: ${version}$`, 'm'));
});

t.test('nothing that does not apply to pods on the host’s network', { skip }, async (t) => {
  const kinds = render(COMBINATIONS.everything as Values).map(({ kind }) => kind);
  t.notOk(kinds.includes('NetworkPolicy'));
  t.notOk(kinds.includes('PodDisruptionBudget'));
});
