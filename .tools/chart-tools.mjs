// Builds the programs that render and check the chart, helm and kubeconform, with Go, into a
// cache outside the checkout; done in a moment when they are there. Prints the folder that
// they are in. Runs under whatever Node there is.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const TOOLS = [
  { name: 'helm', module: 'helm.sh/helm/v3/cmd/helm', version: 'v3.22.0' },
  {
    name: 'kubeconform',
    module: 'github.com/yannh/kubeconform/cmd/kubeconform',
    version: 'v0.8.0',
  },
];

/** Where the programs are, once they are built: a folder for each set of versions. */
export function chartToolsFolder() {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const versions = TOOLS.map(({ name, version }) => `${name}-${version}`).join('_');
  return join(cache, 'pod-identity-broker', versions);
}

/** Why they cannot be had here; undefined when they are there, or were built now. */
export function installChartTools() {
  const folder = chartToolsFolder();
  for (const { name, module, version } of TOOLS) {
    if (existsSync(join(folder, name))) continue;
    process.stderr.write(`building ${name} ${version}\n`);
    const args = ['-n', '10', 'go', 'install', '-ldflags=-s -w', `${module}@${version}`];
    const built = spawnSync('nice', args, {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, GOBIN: folder, GOFLAGS: '-buildvcs=false', CGO_ENABLED: '0' },
    });
    if (built.error !== undefined) return `${name} is not there, and neither is Go to build it`;
    if (built.status !== 0) return `${name} ${version} cannot be built with this Go`;
  }
  return undefined;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const problem = installChartTools();
  if (problem !== undefined) {
    process.stderr.write(`${problem}\n`);
    process.exit(1);
  }
  process.stdout.write(`${chartToolsFolder()}\n`);
}
