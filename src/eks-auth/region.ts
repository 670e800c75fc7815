import type { Clock } from '../clock.ts';
import type { Environment } from '../http/proxy.ts';
import { CredentialChainError } from './failure.ts';
import { readInstanceMetadata } from './imds.ts';
import { readSharedFiles, sharedFiles } from './shared-files.ts';

/** No source has a region, or it has an invalid one. */
export class RegionError extends Error {
  override readonly name = 'RegionError';
  readonly code = 'ERR_REGION';
}

/** A host label (RFC 1123), since the region becomes part of a host name. */
const REGION = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Whether `text` may be the name of a region. There is no list, since AWS adds regions. */
export function isRegion(text: string): boolean {
  return REGION.test(text);
}

/**
 * Finds the region that the node is in: `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's
 * `region` in the shared configuration files, or the instance metadata service.
 *
 * Takes at most 2 s, and as long again where the shared files hang; then they are passed over.
 *
 * @param env - the environment to read.
 * @param clock - default is the real time.
 * @throws RegionError saying what to set.
 */
export async function resolveRegion(env: Environment, clock?: Clock): Promise<string> {
  const named = env.AWS_REGION || env.AWS_DEFAULT_REGION || (await fromProfile(env, clock));
  if (named) {
    if (isRegion(named)) return named;
    throw new RegionError('not the name of a region: check AWS_REGION and the shared config file');
  }
  let problem: string;
  try {
    const region = await readInstanceMetadata('/latest/meta-data/placement/region', env, clock);
    if (isRegion(region)) return region;
    problem = 'no region in its answer';
  } catch (error) {
    problem = error instanceof Error ? error.message : String(error);
  }
  throw new RegionError(`no AWS region: set AWS_REGION (instance metadata: ${problem})`);
}

async function fromProfile(env: Environment, clock?: Clock): Promise<string | undefined> {
  // Rarely needed, and large.
  const { loadSharedConfigFiles } = await import('@smithy/core/config');
  try {
    await readSharedFiles(env, clock);
  } catch (error) {
    if (error instanceof CredentialChainError) return undefined;
    throw error;
  }
  const { config, credentials } = sharedFiles(env);
  const { configFile, credentialsFile } = await loadSharedConfigFiles({
    configFilepath: config,
    filepath: credentials,
    ignoreCache: true,
  });
  const profile = env.AWS_PROFILE || 'default';
  return configFile[profile]?.region || credentialsFile[profile]?.region;
}
