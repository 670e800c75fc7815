import http from 'node:http';
import type { DurationMs } from '../clock.ts';
import { InstanceMetadataError, readInstanceMetadata } from './imds.ts';
import type { LoadedCredentials } from './node-credentials.ts';

/** For each request to a metadata service. */
const METADATA_TIMEOUT: DurationMs = 1_000;

/** Receives what the SDK has to say. */
export type Warn = (message: string) => void;

/**
 * Makes a function that reads the node's credentials anew each time, by the SDK's default
 * chain: environment, shared files (with SSO, processes and assumed roles), web identity,
 * container and instance metadata. Reads `process.env`, as the chain does.
 *
 * The chain is imported on the first load, since it is not needed to start.
 *
 * @param warn - receives the chain's warnings, e.g. of credentials that were set twice.
 */
export function createCredentialsLoader(warn: Warn): () => Promise<LoadedCredentials> {
  return async () => {
    const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
    keepProxiesOut();
    // A new chain each time, since one chain waits for its last load even where that hangs;
    // and files are read anew, of which the SDK otherwise keeps what it read first.
    const load = defaultProvider({
      ignoreCache: true,
      timeout: METADATA_TIMEOUT,
      maxRetries: 1,
      logger: logger(warn),
    });
    let loaded: Awaited<ReturnType<typeof load>>;
    try {
      loaded = await load();
    } catch (error) {
      throw new Error(await explain(error), { cause: error });
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

/**
 * The chain's requests to the metadata services use Node's global agent, which follows the
 * proxy variables where Node was started with `NODE_USE_ENV_PROXY` or `--use-env-proxy`.
 * Metadata is never reached through a proxy, and nothing else here uses that agent.
 */
function keepProxiesOut(): void {
  const { options } = http.globalAgent as http.Agent & { options: http.AgentOptions };
  if (options.proxyEnv) http.globalAgent = new http.Agent({ keepAlive: true });
}

/** The chain marks credentials with the feature that they came by; instance metadata has none. */
function isRemote(features: object = {}): boolean {
  return Object.keys(features).every((feature) => /IMDS|HTTP/.test(feature));
}

/**
 * The chain's last word is often "Could not load credentials from any providers", which names
 * no cause. What the instance metadata service says about roles usually is the cause.
 */
async function explain(error: unknown): Promise<string> {
  const message = error instanceof Error ? error.message : String(error);
  if (!/could not load credentials from any providers/i.test(message)) return message;
  let metadata: string;
  try {
    await readInstanceMetadata('/latest/meta-data/iam/security-credentials/', process.env);
    metadata = 'has a role, but its credentials could not be read';
  } catch (cause) {
    metadata = cause instanceof InstanceMetadataError ? cause.message : String(cause);
  }
  const profile = process.env.AWS_PROFILE || 'default';
  return `none in the environment or in profile ${profile} of the shared files; instance metadata: ${metadata}`;
}

function logger(warn: Warn) {
  const ignore = () => undefined;
  const pass = (...words: unknown[]) =>
    warn(words.map((word) => (word instanceof Error ? word.message : String(word))).join(' '));
  return { trace: ignore, debug: ignore, info: ignore, warn: pass, error: pass };
}
