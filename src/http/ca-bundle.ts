import { X509Certificate } from 'node:crypto';
import { type ReadOptions, readTextFile } from '../read-file.ts';
import type { Environment } from './proxy.ts';

/** `AWS_CA_BUNDLE` names a file that cannot be read or holds no certificate. */
export class CaBundleError extends Error {
  override readonly name = 'CaBundleError';
  readonly code = 'ERR_CA_BUNDLE';
}

/**
 * The certificates of `AWS_CA_BUNDLE` (PEM), which take the place of the system's roots. They are
 * read once, when the broker starts: all threads are given them.
 *
 * @param env - the environment to read.
 * @returns `undefined` where the variable is not set.
 * @throws CaBundleError naming the variable and its file.
 */
export async function readCaBundle(
  env: Environment,
  options?: ReadOptions,
): Promise<string | undefined> {
  const path = env.AWS_CA_BUNDLE;
  if (!path) return undefined;
  let pem: string;
  try {
    pem = await readTextFile(path, options);
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
