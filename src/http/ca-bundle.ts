import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Environment } from './proxy.ts';

/** `AWS_CA_BUNDLE` names a file that cannot be read or holds no certificate. */
export class CaBundleError extends Error {
  override readonly name = 'CaBundleError';
  readonly code = 'ERR_CA_BUNDLE';
}

/**
 * The certificates of `AWS_CA_BUNDLE` (PEM), which take the place of the system's roots.
 *
 * @param env - the environment to read.
 * @returns `undefined` where the variable is not set.
 * @throws CaBundleError naming the variable and its file.
 */
export function readCaBundle(env: Environment): string | undefined {
  const path = env.AWS_CA_BUNDLE;
  if (!path) return undefined;
  let pem: string;
  try {
    pem = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new CaBundleError(`AWS_CA_BUNDLE: cannot read ${path}`, { cause });
  }
  try {
    // Node leaves out what it cannot parse, and would then trust nobody, without a word.
    new X509Certificate(pem);
  } catch (cause) {
    throw new CaBundleError(`AWS_CA_BUNDLE: no certificate in ${path}`, { cause });
  }
  return pem;
}
