import http from 'node:http';
import type { Clock, DurationMs } from '../clock.ts';
import type { Environment } from '../http/proxy.ts';
import { ChainTransport } from './chain-transport.ts';
import { CredentialChainError } from './failure.ts';
import { InstanceMetadataError, readInstanceMetadata } from './imds.ts';
import type { LoadCredentials } from './node-credentials.ts';
import { resolveRegion } from './region.ts';
import { readSharedFiles } from './shared-files.ts';

/** Time-out of each request to a metadata service. */
const METADATA_TIMEOUT: DurationMs = 1_000;

/** Input of {@link createCredentialsLoader}. */
export interface CredentialsLoaderOptions {
  /** Receives the chain's warnings, e.g. about credentials that are set twice. */
  readonly warn: (message: string) => void;
  /** The proxy variables that the chain's calls to AWS follow. Default: none. */
  readonly environment?: Environment | undefined;
  /** Certificates (PEM) that they trust instead of the system's roots. */
  readonly caBundle?: string | undefined;
  /** Time-out of a connection to AWS. Default: 1 s. */
  readonly connectTimeout?: DurationMs | undefined;
  /** Default is the real time. */
  readonly clock?: Clock | undefined;
}

/**
 * Returns a function that loads the node's credentials with the SDK's default chain: environment,
 * shared files (with SSO, processes and assumed roles), web identity, container and instance
 * metadata. It reads `process.env`, as the chain does, and throws CredentialChainError.
 *
 * Requests of the chain to AWS (STS, SSO) use the configured proxy; a metadata service is always
 * asked directly.
 *
 * The chain is imported with the first load, since it is not needed to start. It is not run while a
 * file that it would read hangs.
 */
export function createCredentialsLoader(options: CredentialsLoaderOptions): LoadCredentials {
  const { warn, clock } = options;
  const requestHandler = new ChainTransport(options);
  return async (onSource = () => undefined) => {
    const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
    keepProxiesOut();
    if (!hasOwnCredentials(process.env)) await readSharedFiles(process.env, clock);
    // A new chain each time: a chain would wait for its previous load even if that hangs.
    // `ignoreCache`: the SDK would keep the first contents of the files.
    const load = defaultProvider({
      ignoreCache: true,
      timeout: METADATA_TIMEOUT,
      maxRetries: 1,
      logger: logger(warn, onSource),
      clientConfig: { requestHandler },
      // STS is called in the node's region, as by the existing agent's SDK. Otherwise it would be
      // us-east-1 if only the instance metadata has the region.
      parentClientConfig: { region: () => resolveRegion(process.env, clock) },
    });
    let loaded: Awaited<ReturnType<typeof load>>;
    try {
      loaded = await load();
    } catch (error) {
      throw new CredentialChainError(await explain(error, clock), { cause: error });
    }
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = loaded;
    return {
      accessKeyId,
      secretAccessKey,
      ...(sessionToken && { sessionToken }),
      ...(expiration && { expiresAt: expiration.getTime() }),
      remote: isRemote((loaded as { $source?: object }).$source),
    };
  };
}

/** Whether the chain reads no file, since the environment itself has credentials. */
function hasOwnCredentials(env: Environment): boolean {
  return Boolean(env.AWS_ACCESS_KEY_ID && env.AWS_SECRET_ACCESS_KEY && !env.AWS_PROFILE);
}

/**
 * The chain's requests to metadata services use Node's global agent, which follows the proxy
 * variables if Node was started with `NODE_USE_ENV_PROXY` or `--use-env-proxy`. Metadata services
 * are never reached through a proxy, and nothing else in the broker uses that agent.
 */
function keepProxiesOut(): void {
  const { options } = http.globalAgent as http.Agent & { options: http.AgentOptions };
  if (options.proxyEnv) http.globalAgent = new http.Agent({ keepAlive: true });
}

/** The chain marks credentials with the feature that they came from; instance metadata has none. */
function isRemote(features: object = {}): boolean {
  return Object.keys(features).every((feature) => /IMDS|HTTP/.test(feature));
}

/**
 * The chain often ends with "Could not load credentials from any providers", which names no cause.
 * The usual cause is what the instance metadata service says about the node's role.
 */
async function explain(error: unknown, clock: Clock | undefined): Promise<string> {
  const message = error instanceof Error ? error.message : String(error);
  if (!/could not load credentials from any providers/i.test(message)) return message;
  let metadata: string;
  try {
    await readInstanceMetadata('/latest/meta-data/iam/security-credentials/', process.env, clock);
    metadata = 'has a role, but its credentials could not be read';
  } catch (cause) {
    metadata = cause instanceof InstanceMetadataError ? cause.message : String(cause);
  }
  const profile = process.env.AWS_PROFILE || 'default';
  return `none in the environment or in profile ${profile} of the shared files; instance metadata: ${metadata}`;
}

/** The chain tells its last source, which may be slow, only to its log. */
const REMOTE_SOURCE = / remoteProvider::(fromInstanceMetadata|fromHttp)/;

function logger(warn: CredentialsLoaderOptions['warn'], onSource: (source: string) => void) {
  const ignore = () => undefined;
  const debug = (message: unknown) => {
    const source = REMOTE_SOURCE.exec(String(message))?.[1];
    if (source === undefined) return;
    onSource(source === 'fromHttp' ? 'the container credentials endpoint' : 'instance metadata');
  };
  const pass = (...words: unknown[]) =>
    warn(words.map((word) => (word instanceof Error ? word.message : String(word))).join(' '));
  return { trace: ignore, debug, info: ignore, warn: pass, error: pass };
}
