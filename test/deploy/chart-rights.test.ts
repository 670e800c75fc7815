import { readFileSync } from 'node:fs';
import t from 'tap';
import {
  ALL_VARIANTS,
  type Manifest,
  needsChartTools,
  ofKind,
  parseManifests,
  podSpec,
  REGION,
  render,
} from './chart.ts';

const skip = needsChartTools();

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
