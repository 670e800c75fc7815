import type { AwsCredentialIdentity, AwsCredentialIdentityProvider } from '@smithy/types';
import type { Dispatcher } from 'undici';
import type { DurationMs } from '../clock.ts';
import { resolveEndpoint } from './endpoint.ts';
import { EKSAuthClient } from './index.ts';
import type { NodeCredentials } from './node-credentials.ts';
import { UndiciTransport } from './transport.ts';

/** Input of {@link createClient}. */
export interface ClientOptions {
  /** AWS region, e.g. `eu-central-1`. */
  readonly region: string;
  /** Use the FIPS endpoint. Default: `false`. */
  readonly fips?: boolean | undefined;
  /** Base URL to use instead of the region's endpoint. Default: none. */
  readonly endpoint?: string | undefined;
  /** Connections to use, of `createDispatcher`. */
  readonly dispatcher: Dispatcher;
  /** Called for every request; its result is not cached. */
  readonly credentials: () => NodeCredentials | Promise<NodeCredentials>;
  /** Time-out of one call, up to the last byte of the response. Default: 10 s. */
  readonly attemptTimeout?: DurationMs | undefined;
  /** Added to the `User-Agent` header, e.g. `pod-identity-broker/1.0.0`. Default: none. */
  readonly userAgent?: string | undefined;
}

/**
 * Creates a client of EKS Auth that makes one attempt per call (the broker itself retries and paces
 * calls, for all its workers together), over the given connections, signed with the current
 * credentials.
 *
 * After an answer whose `Date` differs from the node's time, the SDK's signer uses the service's
 * time: it keeps the difference (`systemClockOffset`) with the client.
 *
 * @throws TypeError naming the option that cannot be used.
 */
export function createClient(options: ClientOptions): EKSAuthClient {
  const { region, dispatcher, attemptTimeout, userAgent } = options;
  return new EKSAuthClient({
    region,
    endpoint: resolveEndpoint(options).href,
    credentials: withoutCaching(options.credentials),
    requestHandler: new UndiciTransport({ dispatcher, attemptTimeout }),
    maxAttempts: 1,
    ...(userAgent !== undefined && { customUserAgent: userAgent }),
  });
}

/**
 * The SDK caches a provider's result until five minutes before its expiration, or for ever if it has
 * none. A provider marked as `memoized` is expected to cache by itself, and is called for every
 * request (`resolveAwsSdkSigV4Config` of `@aws-sdk/core`).
 */
function withoutCaching(
  source: () => NodeCredentials | Promise<NodeCredentials>,
): AwsCredentialIdentityProvider {
  const provider = async (): Promise<AwsCredentialIdentity> => {
    const { accessKeyId, secretAccessKey, sessionToken } = await source();
    return { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) };
  };
  return Object.assign(provider, { memoized: true });
}
