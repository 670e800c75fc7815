import { spawnSync } from 'node:child_process';
import { namespacesProblem } from '../../src/simulator/netns.ts';
import { findKubernetesAssets } from './kubernetes-assets.ts';

// What some tests need of the machine, as tap's `skip`: the reason why they cannot run here,
// else false. On CI nothing is skipped: such a test runs, and fails.

/** The AWS CLI. */
export function needsAwsCli(): string | false {
  const found = spawnSync('aws', ['--version'], { stdio: 'ignore' }).status === 0;
  return unlessCi(found ? undefined : 'the AWS CLI is not installed');
}

/** The AWS SDK for Python. */
export function needsBoto3(): string | false {
  const found = spawnSync('python3', ['-c', 'import boto3'], { stdio: 'ignore' }).status === 0;
  return unlessCi(found ? undefined : 'boto3 is not installed');
}

/** A program that says `--version`. */
export function needsProgram(name: string): string | false {
  const found = spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0;
  return unlessCi(found ? undefined : `${name} is not installed`);
}

/** Root and Linux's network namespaces. */
export function needsNamespaces(): string | false {
  return unlessCi(namespacesProblem());
}

function unlessCi(problem: string | undefined): string | false {
  return problem === undefined || process.env.CI === 'true' ? false : problem;
}

/** A kube-apiserver and etcd; built by `.tools/kubernetes-assets.mjs`, which takes minutes. */
export function needsApiServer(): string | false {
  const found = findKubernetesAssets() !== undefined;
  return unlessCi(
    found ? undefined : 'no kube-apiserver: run .tools/kubernetes-assets.mjs once (needs Go)',
  );
}
