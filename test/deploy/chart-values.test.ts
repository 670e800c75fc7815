import t from 'tap';
import {
  faults,
  type Manifest,
  needsChartTools,
  ofKind,
  parsed,
  podSpec,
  REGION,
  REQUIRED,
  render,
  renderText,
  server,
  variables,
} from './chart.ts';

const skip = needsChartTools();

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
