import {
  createDefaultUserAgentProvider,
  getHostHeaderPlugin,
  getLoggerPlugin,
  getUserAgentPlugin,
  resolveHostHeaderConfig,
  resolveUserAgentConfig,
} from '@aws-sdk/core/client';
import { AwsSdkSigV4Signer, resolveAwsSdkSigV4Config } from '@aws-sdk/core/httpAuthSchemes';
import runtime from '@aws-sdk/core/package.json' with { type: 'json' };
import { AwsRestJsonProtocol } from '@aws-sdk/core/protocols';
import {
  DefaultIdentityProviderConfig,
  getHttpAuthSchemeEndpointRuleSetPlugin,
  getHttpSigningPlugin,
} from '@smithy/core';
import { Sha256 } from '@smithy/core/checksum';
import { Client, NoOpLogger } from '@smithy/core/client';
import { resolveRegionConfig } from '@smithy/core/config';
import { resolveEndpointConfig } from '@smithy/core/endpoints';
import { getContentLengthPlugin, type HttpHandler, parseUrl } from '@smithy/core/protocols';
import { getRetryPlugin, resolveRetryConfig } from '@smithy/core/retry';
import { getSchemaSerdePlugin } from '@smithy/core/schema';
import { calculateBodyLength, fromBase64, fromUtf8, toBase64, toUtf8 } from '@smithy/core/serde';
import type {
  AwsCredentialIdentity,
  AwsCredentialIdentityProvider,
  EndpointV2,
  HttpAuthOption,
  IdentityProviderConfig,
  Logger,
  Provider,
  UserAgent,
} from '@smithy/types';
import { resolveEndpoint } from './endpoint.ts';
import type {
  AssumeRoleForPodIdentityCommandInput,
  AssumeRoleForPodIdentityCommandOutput,
} from './models.ts';
import { errorTypeRegistries, NAMESPACE } from './schemas.ts';
import type { RequestOptions } from './transport.ts';

const SERVICE_ID = 'EKS Auth';
const SIGNING_NAME = 'eks-auth';
const API_VERSION = '2023-11-26';
const SIGV4 = 'aws.auth#sigv4';

/**
 * Configuration of {@link EKSAuthClient}: a subset of the official client's. Nothing is read from
 * the environment or from files.
 */
export interface EKSAuthClientConfig {
  /** The region to call and to sign for. */
  region: string | Provider<string>;
  /**
   * The credentials to sign with. The SDK caches the result of a provider function until five
   * minutes before its `expiration`, unless the function has the property `memoized: true`: then it
   * is called for every request.
   */
  credentials: AwsCredentialIdentity | AwsCredentialIdentityProvider;
  /** Sends the requests. */
  requestHandler: HttpHandler<object>;
  /** Base URL to use instead of the region's endpoint. */
  endpoint?: string;
  /** Use the FIPS endpoint. Default: `false`. */
  useFipsEndpoint?: boolean | Provider<boolean>;
  /** Most attempts per request. Default: 3, as in every client of the SDK. */
  maxAttempts?: number | Provider<number>;
  /** Added to the `User-Agent` header. */
  customUserAgent?: string | UserAgent;
  /** Gets a line per call, with tokens and secrets masked. Default: none. */
  logger?: Logger;
  /** Milliseconds to add to the node's time when signing. Default: 0. */
  systemClockOffset?: number;
}

/** The configuration as the SDK's plugins use it. */
export type EKSAuthClientResolvedConfig = ReturnType<typeof resolveConfig>;

/**
 * Client of Amazon EKS Auth, put together from the runtime packages of the AWS SDK for
 * JavaScript in the same way as its generated clients, and with the names of the official
 * `@aws-sdk/client-eks-auth`.
 */
export class EKSAuthClient extends Client<
  RequestOptions,
  AssumeRoleForPodIdentityCommandInput,
  AssumeRoleForPodIdentityCommandOutput,
  EKSAuthClientResolvedConfig
> {
  constructor(configuration: EKSAuthClientConfig) {
    const config = resolveConfig(configuration);
    super(config);
    const { middlewareStack } = this;
    middlewareStack.use(getSchemaSerdePlugin(config));
    middlewareStack.use(getUserAgentPlugin(config));
    middlewareStack.use(getRetryPlugin(config));
    middlewareStack.use(getContentLengthPlugin(config));
    middlewareStack.use(getHostHeaderPlugin(config));
    middlewareStack.use(getLoggerPlugin(config));
    middlewareStack.use(
      getHttpAuthSchemeEndpointRuleSetPlugin(config, {
        httpAuthSchemeParametersProvider: async () => ({ operation: '' }),
        identityProviderConfigProvider: async ({ credentials }) =>
          new DefaultIdentityProviderConfig({ [SIGV4]: credentials }),
      }),
    );
    middlewareStack.use(getHttpSigningPlugin(config));
  }
}

interface EndpointParameters {
  readonly Region?: string;
  readonly UseFIPS?: boolean;
  readonly Endpoint?: string;
}

function endpointProvider({ Region = '', UseFIPS, Endpoint }: EndpointParameters): EndpointV2 {
  return { url: resolveEndpoint({ region: Region, fips: UseFIPS, endpoint: Endpoint }) };
}

function signWithSigV4(): HttpAuthOption[] {
  return [
    {
      schemeId: SIGV4,
      propertiesExtractor: (config, context) => ({ signingProperties: { config, context } }),
    },
  ];
}

function resolveConfig(configuration: EKSAuthClientConfig) {
  const defaults = {
    ...configuration,
    runtime: 'node',
    apiVersion: API_VERSION,
    serviceId: SERVICE_ID,
    defaultSigningName: SIGNING_NAME,
    protocol: new AwsRestJsonProtocol({ defaultNamespace: NAMESPACE, errorTypeRegistries }),
    httpAuthSchemes: [
      {
        schemeId: SIGV4,
        identityProvider: (known: IdentityProviderConfig) => known.getIdentityProvider(SIGV4),
        signer: new AwsSdkSigV4Signer(),
      },
    ],
    httpAuthSchemeProvider: signWithSigV4,
    authSchemePreference: async () => [],
    endpointProvider,
    // Otherwise the SDK reads an endpoint from the environment and the shared configuration file.
    ignoreConfiguredEndpointUrls: true,
    useDualstackEndpoint: false,
    useFipsEndpoint: configuration.useFipsEndpoint ?? false,
    disableClockSkewCorrection: false,
    maxAttempts: configuration.maxAttempts ?? 3,
    retryMode: 'standard',
    logger: configuration.logger ?? new NoOpLogger(),
    defaultUserAgentProvider: createDefaultUserAgentProvider({
      serviceId: SERVICE_ID,
      clientVersion: runtime.version,
    }),
    userAgentAppId: async () => undefined,
    bodyLengthChecker: calculateBodyLength,
    streamCollector: async (body: AsyncIterable<Uint8Array>) =>
      Buffer.concat(await Array.fromAsync(body)),
    sha256: Sha256,
    urlParser: parseUrl,
    base64Decoder: fromBase64,
    base64Encoder: toBase64,
    utf8Decoder: fromUtf8,
    utf8Encoder: toUtf8,
    disableHostPrefix: false,
  };
  return resolveAwsSdkSigV4Config(
    resolveEndpointConfig(
      resolveHostHeaderConfig(
        resolveRegionConfig(resolveRetryConfig(resolveUserAgentConfig(defaults))),
      ),
    ),
  );
}
