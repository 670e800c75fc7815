import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { parseAllDocuments } from 'yaml';
import { chartToolsFolder, installChartTools } from '../../.tools/chart-tools.mjs';
import { makeSchemas, schemasFolder } from '../../.tools/kubernetes-schemas.mjs';
import type { Config } from '../../src/config/config.ts';
import { addServerOptions, serverConfig } from '../../src/config/server-options.ts';

const CHART = fileURLToPath(new URL('../../deploy/chart', import.meta.url));

/** What has to be said before a chart can be rendered. */
export const REQUIRED = {
  clusterName: 'my-cluster',
  image: { repository: 'registry.example/pod-identity-broker' },
};

/** Nodes of the hybrid variants have nobody who names it. */
export const REGION = { env: { AWS_REGION: 'eu-central-1' } };

/** All variants at once. */
export const ALL_VARIANTS = {
  cloud: { create: true },
  hybrid: { create: true },
  'hybrid-bottlerocket': { create: true },
};

/** Values as a user's file has them. */
export type Values = Readonly<Record<string, unknown>>;

/** An object of Kubernetes. */
// biome-ignore lint/suspicious/noExplicitAny: every kind has fields of its own
export type Manifest = any;

/** helm and kubeconform: the reason why they are not there, as tap's `skip`. */
export function needsChartTools(): string | false {
  const problem = installChartTools() ?? makeSchemas();
  return problem === undefined || process.env.CI === 'true' ? false : problem;
}

/**
 * Renders the chart as `helm install` does.
 *
 * @param values - Text: as a file has it, in helm's own reading of YAML.
 */
export function helmTemplate(
  values: Values | string,
  ...args: readonly string[]
): { readonly code: number | null; readonly text: string; readonly stderr: string } {
  const words = ['template', 'pod-identity-broker', CHART, '--namespace=kube-system'];
  // A helm that Go installs takes the cluster for a very old one.
  const { status, stdout, stderr } = spawnSync(
    `${chartToolsFolder()}/helm`,
    [...words, '--kube-version=1.34.1', '--values=-', ...args],
    {
      encoding: 'utf8',
      input: typeof values === 'string' ? values : JSON.stringify(values),
      env: { HOME: '/nonexistent' },
    },
  );
  return { code: status, text: stdout, stderr };
}

/** What a chart with these values makes. @throws Error with helm's complaint. */
export function render(values: Values): Manifest[] {
  return renderText(JSON.stringify({ ...REQUIRED, ...values }));
}

/** What a chart with the values of a file makes. @throws Error with helm's complaint. */
export function renderText(values: string): Manifest[] {
  const { code, text, stderr } = helmTemplate(values);
  if (code !== 0) throw new Error(stderr);
  return parseManifests(text);
}

/** The manifests of a text. @throws Error for what is no YAML, as where a key is there twice. */
export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map((document) => {
      const [error] = document.errors;
      if (error !== undefined) throw error;
      return document.toJS();
    })
    .filter((manifest) => manifest !== null);
}

/** What kubeconform finds wrong, a line each. */
export function faults(manifests: readonly Manifest[]): string[] {
  const { stdout, stderr } = spawnSync(
    `${chartToolsFolder()}/kubeconform`,
    [`-schema-location=${schemasFolder()}/{{.ResourceKind}}{{.KindSuffix}}.json`, '-output=json'],
    {
      encoding: 'utf8',
      input: manifests.map((one) => JSON.stringify(one)).join('\n---\n'),
    },
  );
  if (stdout === '') throw new Error(stderr);
  const { resources } = JSON.parse(stdout) as { resources: { kind: string; msg: string }[] };
  return resources.map(({ kind, msg }) => `${kind}: ${msg}`);
}

/** The manifests of a kind. */
export function ofKind(manifests: readonly Manifest[], kind: string): Manifest[] {
  return manifests.filter((manifest) => manifest.kind === kind);
}

/** The pod of a DaemonSet. */
export function podSpec(daemonSet: Manifest): Manifest {
  return daemonSet.spec.template.spec;
}

/** The server's container of a DaemonSet. */
export function server(daemonSet: Manifest): Manifest {
  return podSpec(daemonSet).containers[0];
}

/** The values of a container's variables. */
export function variables(container: Manifest): Record<string, string> {
  return Object.fromEntries(
    container.env.map((one: Manifest) => [one.name, one.value ?? one.valueFrom.fieldRef.fieldPath]),
  );
}

/** What the program makes of the arguments of a container. @throws Error for what it refuses. */
export function parsed(args: readonly string[]): Config {
  if (args[0] !== 'server') throw new Error(`${args[0]} is not server`);
  const command = addServerOptions(new Command('server')).exitOverride();
  command.parse(args.slice(1), { from: 'user' });
  return serverConfig(command, { NODE_NAME: 'node' });
}

/** A values file of the existing chart, as its user has it. */
export const EXISTING_VALUES = readFileSync(
  new URL('values/existing-chart.yaml', import.meta.url),
  'utf8',
);

/** The same after its user has deleted what has to go, and named the image. */
export function existingValues(): string {
  const kept = EXISTING_VALUES.replace(/^.* # delete\n/gm, '');
  return kept.replace(/^image:\n/m, `image:\n  repository: ${REQUIRED.image.repository}\n`);
}
