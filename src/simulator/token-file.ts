import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What a projected token's file is called in a pod. */
const TOKEN_FILE_NAME = 'eks-pod-identity-token';

/** Where EKS's webhook mounts the token into a pod. */
export const TOKEN_MOUNT_PATH = `/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/${TOKEN_FILE_NAME}`;

/** The file of a pod's token below `directory`. */
export function tokenFilePath(directory: string, namespace: string, pod: string): string {
  return join(directory, namespace, pod, TOKEN_FILE_NAME);
}

/**
 * Replaces a token file in one step, so that a reader sees the old token or the new one,
 * never a part; readable by its owner only.
 */
export function writeTokenFile(path: string, token: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.new`;
  writeFileSync(temporary, token, { mode: 0o600 });
  renameSync(temporary, path);
}

/** Takes a pod's token file and its folder away. */
export function removeTokenFile(path: string): void {
  rmSync(dirname(path), { recursive: true, force: true });
}
