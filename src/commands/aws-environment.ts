import type { Command } from 'commander';
import type { Config } from '../config/config.ts';
import { isRegion } from '../eks-auth/region.ts';
import { ProxyUrlError, proxyFromEnvironment } from '../http/proxy.ts';

/**
 * Refuses variables of the AWS SDKs and of proxies that no call could be made by: the first pod
 * to ask would learn of it otherwise, by a 503.
 */
export function requireUsableEnvironment(
  command: Command,
  config: Pick<Config, 'endpoint' | 'fips'>,
  environment: NodeJS.ProcessEnv,
): void {
  try {
    proxyFromEnvironment(environment);
  } catch (error) {
    if (!(error instanceof ProxyUrlError)) throw error;
    command.error(`error: ${error.message}`);
  }
  for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION']) {
    const region = environment[name];
    if (region && !isRegion(region)) {
      command.error(`error: ${name}: not the name of a region: ${JSON.stringify(region)}`);
    }
  }
  if (config.endpoint !== undefined && config.fips) {
    // The service's own rule set refuses this: nobody can tell whether such an endpoint is one.
    command.error('error: --endpoint cannot be combined with AWS_USE_FIPS_ENDPOINT=true');
  }
}
