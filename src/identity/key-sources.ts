import type { JSONWebKeySet } from 'jose';
import type { Clock, DurationMs } from '../clock.ts';
import { isTrustedUrl } from '../config/values.ts';
import type { GetRequest } from '../http/get-request.ts';
import type { ApiServerAccess } from '../kubernetes/access.ts';
import { readTextFile } from '../read-file.ts';
import type { Workers } from '../workers/pool.ts';
import { KeySourceError, publicKeys } from './public-keys.ts';

/** How long one source may take before the next is asked. */
export const SOURCE_TIMEOUT: DurationMs = 2_000;
/** As much as a document may have that is fetched. */
const MAX_FILE_BYTES = 256 * 1_024;

/** Where an issuer's public keys can be had. */
export interface KeySource {
  /** For the log: what is asked, without secrets. */
  readonly name: string;
  /** @throws KeySourceError when it has no usable key set to give. */
  fetch(): Promise<JSONWebKeySet>;
}

/** What the sources are made from. */
export interface KeySourceOptions {
  /** What {@link SOURCE_TIMEOUT} is measured by. */
  readonly clock: Clock;
  /** Fetch documents on threads of their own. */
  readonly workers: Pick<Workers, 'fetchDocument'>;
  /** A JWK Set on disk; undefined: none. */
  readonly jwksFile: string | undefined;
  /** Where a JWK Set is published; undefined: nowhere but where discovery leads. */
  readonly jwksUri: URL | undefined;
  /** Undefined: there is no way to it. */
  readonly apiServer: ApiServerAccess | undefined;
}

/**
 * The sources of an issuer's keys, in the order in which they are asked: a file, a fixed
 * address, the issuer's discovery document, the API server.
 *
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig
 */
export function keySources(issuer: string, options: KeySourceOptions): KeySource[] {
  const { clock, workers, jwksFile, jwksUri, apiServer } = options;
  const sources: KeySource[] = [];
  if (jwksFile !== undefined) sources.push(fromFile(clock, jwksFile));
  if (jwksUri !== undefined) sources.push(fromUri(workers, jwksUri.href));
  const discovery = URL.parse(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  if (discovery !== null && isTrustedUrl(discovery)) {
    sources.push(fromDiscovery(clock, workers, issuer, discovery.href));
  }
  if (apiServer !== undefined) sources.push(fromApiServer(clock, workers, issuer, apiServer));
  return sources;
}

/**
 * The issuer that the API server names in its discovery document.
 *
 * @throws KeySourceError when it gives none.
 */
export async function issuerOfApiServer(
  workers: Pick<Workers, 'fetchDocument'>,
  access: ApiServerAccess,
): Promise<string> {
  const name = 'the API server';
  const request = await access.request('/.well-known/openid-configuration');
  const document = await get(workers, name, request);
  return textMember(name, document, 'issuer');
}

function fromFile(clock: Clock, path: string): KeySource {
  const name = `the file ${path}`;
  return {
    name,
    async fetch() {
      let content: string;
      try {
        content = await readTextFile(path, {
          clock,
          timeout: SOURCE_TIMEOUT,
          maxBytes: MAX_FILE_BYTES,
        });
      } catch (error) {
        throw new KeySourceError(`${name} cannot be read: ${(error as Error).message}`);
      }
      let document: unknown;
      try {
        document = JSON.parse(content);
      } catch {
        throw new KeySourceError(`${name} is not JSON`);
      }
      return publicKeys(name, document);
    },
  };
}

function fromUri(workers: Pick<Workers, 'fetchDocument'>, uri: string): KeySource {
  return {
    name: uri,
    fetch: async () =>
      publicKeys(uri, await get(workers, uri, { url: uri, timeout: SOURCE_TIMEOUT })),
  };
}

function fromDiscovery(
  clock: Clock,
  workers: Pick<Workers, 'fetchDocument'>,
  issuer: string,
  discovery: string,
): KeySource {
  return {
    name: discovery,
    async fetch() {
      const left = timeLeft(clock);
      const document = await get(workers, discovery, { url: discovery, timeout: left() });
      if (textMember(discovery, document, 'issuer') !== issuer) {
        throw new KeySourceError(`${discovery} speaks for another issuer`);
      }
      const uri = textMember(discovery, document, 'jwks_uri');
      const parsed = URL.parse(uri);
      if (parsed === null || !isTrustedUrl(parsed)) {
        throw new KeySourceError(`${discovery} names a jwks_uri that is not https`);
      }
      const keys = await get(workers, parsed.href, { url: parsed.href, timeout: left() });
      return publicKeys(parsed.href, keys);
    },
  };
}

/**
 * The keys that the API server itself publishes. EKS signs with keys of its own, and the
 * API server has published those only since Kubernetes 1.34.
 */
function fromApiServer(
  clock: Clock,
  workers: Pick<Workers, 'fetchDocument'>,
  issuer: string,
  access: ApiServerAccess,
): KeySource {
  const name = 'the API server';
  return {
    name,
    async fetch() {
      const left = timeLeft(clock);
      const read = async (path: string) =>
        await get(workers, name, { ...(await access.request(path)), timeout: left() });
      if (isEksIssuer(issuer)) {
        const version = await read('/version');
        const minor = Number.parseInt(textMember(name, version, 'minor'), 10);
        if (textMember(name, version, 'major') === '1' && !(minor >= 34)) {
          throw new KeySourceError(`${name} has other keys than EKS before Kubernetes 1.34`);
        }
      }
      return publicKeys(name, await read('/openid/v1/jwks'));
    },
  };
}

/** What is left of the time for a source that has to be asked twice; 1 ms at least. */
function timeLeft(clock: Clock): () => DurationMs {
  const deadline = clock.elapsed() + SOURCE_TIMEOUT;
  return () => Math.max(1, deadline - clock.elapsed());
}

/** `oidc.eks.<region>…`, and `oidc-eks.<region>…` for clusters of IPv6. */
function isEksIssuer(issuer: string): boolean {
  return /^oidc[.-]eks[.-]/.test(URL.parse(issuer)?.hostname ?? '');
}

async function get(
  workers: Pick<Workers, 'fetchDocument'>,
  name: string,
  request: GetRequest,
): Promise<unknown> {
  const { document, failure } = await workers.fetchDocument(request);
  if (failure !== undefined) throw new KeySourceError(`${name} ${failure}`);
  return document;
}

function textMember(name: string, document: unknown, member: string): string {
  const value =
    typeof document === 'object' && document !== null
      ? (document as Record<string, unknown>)[member]
      : undefined;
  if (typeof value !== 'string' || value === '') {
    throw new KeySourceError(`${name} answered without ${member}`);
  }
  return value;
}
