import { partition } from '@aws-sdk/core/client';
import { isRegion } from './region.ts';

/** Input of {@link resolveEndpoint}. */
export interface EndpointOptions {
  /** AWS region, e.g. `eu-central-1`. */
  readonly region: string;
  /** Use the FIPS 140-3 validated endpoint. Default: `false`. */
  readonly fips?: boolean | undefined;
  /** Base URL to use instead of the region's endpoint. Default: none. */
  readonly endpoint?: string | undefined;
}

/**
 * The base URL of EKS Auth.
 *
 * EKS Auth always uses the dual-stack domain of the partition, regardless of the dual-stack setting
 * (`endpoint-rule-set-1` of the service's model; the partitions are the SDK's data).
 *
 * @param options - region, FIPS and an override.
 * @returns an `http:` or `https:` URL.
 * @throws TypeError naming the option that cannot be used.
 */
export function resolveEndpoint(options: EndpointOptions): URL {
  const { region, fips = false, endpoint } = options;
  if (endpoint !== undefined) {
    // The service's rule set rejects this, too: whether a custom endpoint is FIPS is not known.
    if (fips) throw new TypeError('endpoint: a custom endpoint cannot be combined with FIPS');
    return parseEndpoint(endpoint);
  }
  if (!isRegion(region)) throw new TypeError(`region: not the name of a region: ${quote(region)}`);
  const { dualStackDnsSuffix, supportsFIPS } = partition(region);
  if (fips && !supportsFIPS) throw new TypeError(`region: no FIPS endpoints in ${region}`);
  return new URL(`https://eks-auth${fips ? '-fips' : ''}.${region}.${dualStackDnsSuffix}`);
}

/**
 * Checks an endpoint override.
 *
 * @param value - an absolute `http:` or `https:` URL without user, query and fragment.
 * @throws TypeError saying what is wrong with it.
 */
export function parseEndpoint(value: string): URL {
  const url = URL.parse(value);
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new TypeError(`endpoint: not an http or https URL: ${quote(value)}`);
  }
  if (url.username || url.password)
    throw new TypeError('endpoint: must not carry a user or password');
  if (url.search || url.hash) throw new TypeError('endpoint: must not have a query or a fragment');
  return url;
}

function quote(value: string): string {
  return JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}…` : value);
}
