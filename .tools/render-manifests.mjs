// Renders deploy/manifests from the chart, a file for each variant; with --check it only says
// which files are not what the chart makes.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chartToolsFolder, installChartTools } from './chart-tools.mjs';

const DEPLOY = fileURLToPath(new URL('../deploy/', import.meta.url));
const VARIANTS = ['cloud', 'hybrid', 'hybrid-bottlerocket'];

const MADE = `# Made from the chart by .tools/render-manifests.mjs.
`;

const HEADER = `${MADE}# Write the name of your cluster for CLUSTER_NAME and that of the image for IMAGE_REPOSITORY.
# When you change the tag of the image, or an argument, change the id behind --ready-id and /readyz/
# as well, to any other: by it the kubelet tells the new pod from the old one on the same ports.
`;

const REMOVE = `${MADE}# The last step before an uninstall, for all variants: see "Off again" in deploy/README.md. Write
# the name of the image for IMAGE_REPOSITORY.
`;

const REGION = `# Write your region for REGION_NAME: hybrid nodes have no metadata service that names it.
`;

function header(variant) {
  return variant === 'cloud' ? HEADER : HEADER + REGION;
}

/** The manifests as they have to be: path → text. */
export function renderManifests() {
  return new Map([
    ...VARIANTS.map((variant) => [
      `${DEPLOY}manifests/${variant}.yaml`,
      header(variant) + render([variant]),
    ]),
    [
      `${DEPLOY}manifests/remove.yaml`,
      REMOVE +
        render(VARIANTS, [
          ...['--set', 'removeFromNodes=true'],
          ...['--show-only', 'templates/daemonset.yaml'],
        ]),
    ],
  ]);
}

function render(variants, more = []) {
  const { status, stdout, stderr } = spawnSync(
    `${chartToolsFolder()}/helm`,
    [
      ...['template', 'pod-identity-broker', `${DEPLOY}chart`, '--namespace=kube-system'],
      // A helm that Go installs takes the cluster for a very old one.
      ...['--kube-version=1.34.1', '--set', 'clusterName=CLUSTER_NAME'],
      ...['--set', 'image.repository=IMAGE_REPOSITORY'],
      ...(variants[0] === 'cloud' && variants.length === 1
        ? []
        : ['--set', 'env.AWS_REGION=REGION_NAME']),
      ...VARIANTS.flatMap((one) => ['--set', `daemonsets.${one}.create=${variants.includes(one)}`]),
      ...more,
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  // What is applied without Helm does not say that Helm manages it.
  return stdout.replace(
    /^ *(# Source: |helm\.sh\/chart: |app\.kubernetes\.io\/managed-by: ).*\n/gm,
    '',
  );
}

/** The files that are not what the chart makes. */
export function outdatedManifests() {
  return [...renderManifests()].flatMap(([path, text]) => (read(path) === text ? [] : [path]));
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const problem = installChartTools();
  if (problem !== undefined) throw new Error(problem);
  if (process.argv.includes('--check')) {
    const outdated = outdatedManifests();
    for (const path of outdated) process.stderr.write(`${path} is not what the chart makes\n`);
    process.exitCode = outdated.length === 0 ? 0 : 1;
  } else {
    for (const [path, text] of renderManifests()) writeFileSync(path, text);
  }
}
