import t from 'tap';
import { outdatedManifests, renderManifests } from '../../.tools/render-manifests.mjs';
import { faults, needsChartTools, parseManifests } from './chart.ts';

const skip = needsChartTools();

t.test('the plain manifests are what the chart makes', { skip }, async (t) => {
  t.strictSame(outdatedManifests(), [], 'else run node .tools/render-manifests.mjs');
});

t.test('and what the API knows', { skip }, async (t) => {
  const files = renderManifests();
  t.equal(files.size, 4);
  for (const [path, text] of files) {
    const manifests = parseManifests(text);
    t.strictSame(
      manifests.map(({ kind }) => kind),
      path.endsWith('/remove.yaml')
        ? ['DaemonSet', 'DaemonSet', 'DaemonSet']
        : ['ServiceAccount', 'ClusterRole', 'ClusterRoleBinding', 'Service', 'DaemonSet'],
      path,
    );
    t.strictSame(faults(manifests), [], path);
    t.notMatch(text, /Helm|helm\.sh/, 'without a word of Helm');
  }
});
