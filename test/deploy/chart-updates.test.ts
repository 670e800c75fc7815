import t from 'tap';
import {
  ALL_VARIANTS,
  type Manifest,
  needsChartTools,
  ofKind,
  parsed,
  podSpec,
  REGION,
  REQUIRED,
  render,
  server,
} from './chart.ts';

const skip = needsChartTools();

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
