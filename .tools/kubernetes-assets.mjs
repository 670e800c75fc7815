// Prints the folder of kube-apiserver and etcd that the tests use, and builds both first where
// they are not there yet: `node .tools/kubernetes-assets.mjs`. KUBEBUILDER_ASSETS, where it is
// set, names ready ones instead (the convention of Kubernetes' own test environments). With
// `--find` nothing is built: it prints nothing where there are none.
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROGRAMS = ['etcd', 'kube-apiserver'];
const source = join(dirname(fileURLToPath(import.meta.url)), 'kubernetes');

const folder = process.env.KUBEBUILDER_ASSETS || cacheFolder();
if (isComplete(folder)) process.stdout.write(`${folder}\n`);
else if (process.argv[2] !== '--find') {
  if (process.env.KUBEBUILDER_ASSETS) {
    fail(`KUBEBUILDER_ASSETS is ${folder}, which lacks ${PROGRAMS.join(' or ')}`);
  }
  build();
  process.stdout.write(`${folder}\n`);
}

/** A folder outside the checkout, so that a build serves all checkouts of the same version. */
function cacheFolder() {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const [, version] = /k8s\.io\/kubernetes v(\S+)/.exec(
    readFileSync(join(source, 'go.mod'), 'utf8'),
  );
  return join(cache, 'pod-identity-broker', `kubernetes-${version}`);
}

function isComplete(candidate) {
  try {
    for (const program of PROGRAMS) accessSync(join(candidate, program), constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Builds into a folder beside it and moves that there whole, whoever else builds meanwhile. */
function build() {
  mkdirSync(dirname(folder), { recursive: true });
  const made = mkdtempSync(`${folder}-`);
  process.stderr.write('building kube-apiserver and etcd: once, about ten minutes of CPU\n');
  const built = spawnSync(
    'go',
    [
      ...['build', '-mod=readonly', '-buildvcs=false', '-trimpath', '-ldflags=-s -w'],
      ...['-o', `${made}/`, './kube-apiserver', './etcd'],
    ],
    { cwd: source, stdio: ['ignore', 2, 2], env: { ...process.env, CGO_ENABLED: '0' } },
  );
  if (built.error !== undefined || built.status !== 0) {
    rmSync(made, { recursive: true });
    fail(`go build failed: ${built.error?.message ?? `exit status ${built.status}`}`);
  }
  try {
    renameSync(made, folder);
  } catch {
    // Somebody else was faster, or left an incomplete one behind.
    if (!isComplete(folder)) {
      rmSync(folder, { recursive: true, force: true });
      renameSync(made, folder);
    } else rmSync(made, { recursive: true });
  }
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
