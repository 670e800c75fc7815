import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('../../.tools/kubernetes-assets.mjs', import.meta.url));

function run(...args: string[]): string {
  const { stdout = '', stderr = '' } = spawnSync(process.execPath, [SCRIPT, ...args], {
    encoding: 'utf8',
  });
  if (stdout === '' && args.length === 0) throw new Error(stderr);
  return stdout.trim();
}

/** The folder with kube-apiserver and etcd, where they are there already. */
export function findKubernetesAssets(): string | undefined {
  return run('--find') || undefined;
}

/** The same; builds them where they are not there. */
export function buildKubernetesAssets(): string {
  return findKubernetesAssets() ?? run();
}
