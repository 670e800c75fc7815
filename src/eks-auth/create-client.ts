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
  /** Use the FIPS endpoint. Default is `false`. */
  readonly fips?: boolean | undefined;
  /** Base URL instead of the region's endpoint. Default is none. */
  readonly endpoint?: string | undefined;
  /** Connections to use, of `createDispatcher`. */
  readonly dispatcher: Dispatcher;
  /** Asked on every call; what it gives is remembered nowhere. */
  readonly credentials: () => NodeCredentials | Promise<NodeCredentials>;
  /** For one call, from start to the last byte of the answer. Default is 10 s. */
  readonly attemptTimeout?: DurationMs | undefined;
  /** Added to the `User-Agent` header, e.g. `pod-identity-broker/1.0.0`. Default is none. */
  readonly userAgent?: string | undefined;
}

/**
 * A client of EKS Auth as the broker wants it: one attempt a call (the broker paces and
 * repeats calls itself, for all its workers together), over our own connections, signed by
 * whatever credentials are current.
 *
 * After an answer whose `Date` differs from the node's time, calls are signed by the service's
 * time: the SDK's signer keeps the difference (`systemClockOffset`) with the client.
 *
 * @throws TypeError naming the option that cannot be used.
 */
export function createClient(options: ClientOptions): EKSAuthClient {
  const { region, dispatcher, attemptTimeout, userAgent } = options;
  return new EKSAuthClient({
    region,
    endpoint: resolveEndpoint(options).href,
    credentials: unremembered(options.credentials),
    requestHandler: new UndiciTransport({ dispatcher, attemptTimeout }),
    maxAttempts: 1,
    ...(userAgent !== undefined && { customUserAgent: userAgent }),
  });
}

/**
 * The SDK wraps a provider and remembers what it gave until five minutes before its
 * expiration, or for ever where it has none. A provider marked as `memoized` is taken to do
 * that itself, and is asked on every call (`resolveAwsSdkSigV4Config` of `@aws-sdk/core`).
 */
function unremembered(
  source: () => NodeCredentials | Promise<NodeCredentials>,
): AwsCredentialIdentityProvider {
  const provider = async (): Promise<AwsCredentialIdentity> => {
    const { accessKeyId, secretAccessKey, sessionToken } = await source();
    return { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) };
  };
  return Object.assign(provider, { memoized: true });
}
