import t from 'tap';
import { ApiServer } from '../support/api-server.ts';
import { needsApiServer } from '../support/needs.ts';
import {
  ALL_VARIANTS,
  existingValues,
  type Manifest,
  needsChartTools,
  ofKind,
  render,
  renderText,
  type Values,
} from './chart.ts';

const skip = needsApiServer() || needsChartTools();

const COMBINATIONS: Readonly<Record<string, Values>> = {
  defaults: {},
  'all variants, with every feature': {
    daemonsets: ALL_VARIANTS,
    env: { AWS_REGION: 'eu-central-1', LARGE: 7_000_000 },
    podLabels: { build: 20_260_101 },
    watchPods: 'enforce',
    startupTaint: 'example.com/not-ready',
    redis: { url: 'rediss://host', secretName: 'redis', caEntry: 'ca.crt', keyHostPath: '/key' },
    otel: { endpoint: 'http://$(HOST_IP):4318' },
    init: { privileged: false },
    agent: { advertiseProxyPort: true },
  },
  'to be removed': { daemonsets: ALL_VARIANTS, env: { AWS_REGION: 'a' }, removeFromNodes: true },
  'without a second pod': { updateStrategy: { rollingUpdate: { maxUnavailable: 1 } } },
};

/** Where objects of each kind are made. */
const GROUPS: Readonly<Record<string, string>> = {
  ServiceAccount: '/api/v1/namespaces/kube-system/serviceaccounts',
  Pod: '/api/v1/namespaces/kube-system/pods',
  Service: '/api/v1/namespaces/kube-system/services',
  DaemonSet: '/apis/apps/v1/namespaces/kube-system/daemonsets',
  ClusterRole: '/apis/rbac.authorization.k8s.io/v1/clusterroles',
  ClusterRoleBinding: '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
  ValidatingAdmissionPolicy: '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies',
  ValidatingAdmissionPolicyBinding:
    '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings',
};

t.test('a real API server takes every object, in a dry run', { skip }, async (t) => {
  const api = await ApiServer.start({ t });
  const create = (manifest: Manifest) =>
    api.request(`${GROUPS[manifest.kind]}?dryRun=All&fieldValidation=Strict`, {
      method: 'POST',
      body: manifest,
    });
  const rendered = Object.entries(COMBINATIONS).map(([name, values]) => [name, render(values)]);
  rendered.push(['the values file of the existing chart', renderText(existingValues())]);
  for (const [name, manifests] of rendered as [string, Manifest[]][]) {
    for (const manifest of manifests) {
      // Its definition is not there.
      if (manifest.kind === 'ServiceMonitor') continue;
      const { status, body } = await create(manifest);
      t.equal(status, 201, `${name}: ${manifest.kind} ${body.message ?? ''}`);
      if (manifest.kind === 'ValidatingAdmissionPolicy') {
        t.strictSame(body.status?.typeChecking?.expressionWarnings ?? [], [], 'its expressions');
      }
    }
  }

  const [unknown] = ofKind(render({}), 'DaemonSet');
  unknown.spec.template.spec.dnsPolice = 'Default';
  t.match((await create(unknown)).body.message, /unknown field.*dnsPolice/, 'and no others');
  const [declaring] = ofKind(render({ agent: { advertiseProxyPort: true } }), 'DaemonSet');
  const { spec } = declaring.spec.template;
  const metadata = { name: 'declaring', namespace: 'kube-system' };
  const { body } = await create({ apiVersion: 'v1', kind: 'Pod', metadata, spec });
  t.match(
    body.spec?.containers[0].ports,
    [{ hostPort: 80 }, { hostPort: 2703 }, { hostPort: 2705 }],
    `on the host’s network a declared port is one of the host ${body.message ?? ''}`,
  );
});
