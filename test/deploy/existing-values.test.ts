import { readFileSync } from 'node:fs';
import t from 'tap';
import { parse } from 'yaml';
import {
  EXISTING_VALUES,
  existingValues,
  faults,
  helmTemplate,
  type Manifest,
  needsChartTools,
  ofKind,
  renderText,
} from './chart.ts';

// The values file of a user of the existing chart, which is to go on working.

const skip = needsChartTools();
t.test('all that has to change is said at once, and listed', { skip }, async (t) => {
  const { code, stderr } = helmTemplate(EXISTING_VALUES);
  t.not(code, 0);
  const named = [...stderr.matchAll(/^([a-z][\w.]+): /gim)].map(([, name]) => name as string);
  const refused = named.filter((name) => name !== 'Error').sort();
  t.strictSame(refused, [
    'agent.command',
    'fullnameOverride',
    'image.containerRegistry',
    'image.region',
    'image.repository',
    'image.tag',
    'init.command',
    'nameOverride',
    'serviceAccount',
  ]);
  const readme = readFileSync(new URL('../../deploy/README.md', import.meta.url), 'utf8');
  const [, list] = /What to delete from its values file:\n\n(.*?)\n\n/s.exec(readme) ?? [];
  for (const name of refused) t.ok(list?.includes(`\`${name}`), name);
});

t.test('then every variant is rendered as it was meant', { skip }, async (t) => {
  // Keys that are there twice are an error of the parser.
  const edited = existingValues();
  const manifests = renderText(edited);
  t.strictSame(faults(manifests), []);
  const daemonSets = ofKind(manifests, 'DaemonSet');
  t.strictSame(
    daemonSets.map(({ metadata }) => metadata.name),
    [
      'pod-identity-broker',
      'pod-identity-broker-hybrid',
      'pod-identity-broker-hybrid-bottlerocket',
    ],
  );
  const given = parse(edited);
  for (const { metadata, spec } of daemonSets) {
    const { affinity, volumes, containers } = spec.template.spec;
    const [{ volumeMounts, args, env }] = containers;
    for (const [list, key] of [
      [volumes, 'name'],
      [volumeMounts, 'mountPath'],
      [env, 'name'],
    ] as const) {
      const keys = list.map((one: Manifest) => one[key]);
      t.strictSame(keys, [...new Set(keys)], `${metadata.name}: each ${key} once`);
    }
    for (const { name } of volumes) {
      t.ok(
        volumeMounts.some((mount: Manifest) => mount.name === name),
        `${metadata.name}: ${name} is used`,
      );
    }
    t.equal(args.filter((arg: string) => arg === '--rotate-credentials').length < 2, true);
    t.equal(args[args.indexOf('--max-cache-size') + 1], '2000000', 'not 2e+06');
    t.equal(args[args.indexOf('--watch-pods') + 1], 'enforce', 'podLivenessCheck');
    t.match(spec.template.metadata.labels, { team: 'platform', build: '20260101' });
    t.strictSame(spec.updateStrategy, given.updateStrategy);
    const name = metadata.name.replace(/^pod-identity-broker-?/, '');
    const { affinity: own } = given.daemonsets[name || 'cloud'];
    if (own !== undefined || name === '') {
      t.strictSame(affinity, own ?? given.affinity, 'the affinity that was given');
    }
  }
  const [, hybrid, bottlerocket] = daemonSets.map(({ spec }) => spec.template.spec);
  t.match(hybrid.volumes.at(-1), given.daemonsets.hybrid.volumes[0]);
  t.strictSame(
    bottlerocket.containers[0].securityContext.seLinuxOptions,
    given.daemonsets['hybrid-bottlerocket'].additionalSecurityContext.seLinuxOptions,
  );
  const mounts = bottlerocket.containers[0].volumeMounts;
  t.match(
    mounts.find(({ mountPath }: Manifest) => mountPath === '/root/.aws'),
    { name: 'credentials' },
    'a mount under another name takes the place of the variant’s',
  );
});
