import type { Test } from 'tap';
import t from 'tap';
import { systemClock } from '../../src/clock.ts';
import {
  type KeySource,
  type KeySourceOptions,
  keySources,
} from '../../src/identity/key-sources.ts';
import type { ApiServerAccess } from '../../src/kubernetes/access.ts';
import type { WorkerPool } from '../../src/workers/pool.ts';
import { createAuthority } from '../support/certificates.ts';
import { signingKey } from '../tokens/signed-tokens.ts';
import { type DocumentServer, documentServer } from '../workers/document-server.ts';
import { startPool } from '../workers/worker-pool.ts';

export const key = signingKey('RS256', 'the-key');
export const KEYS = { keys: [key.jwk] };
export const DISCOVERY = '/.well-known/openid-configuration';

/** The threads that fetch documents, from before the first test on. */
export let workers: WorkerPool;
t.before(async () => {
  workers = await startPool(t);
});

/** The sources of an issuer, of which nothing is set but what is given. */
export function sources(issuer: string, options: Partial<KeySourceOptions> = {}): KeySource[] {
  return keySources(issuer, {
    clock: systemClock,
    workers,
    jwksFile: undefined,
    jwksUri: undefined,
    apiServer: undefined,
    ...options,
  });
}

export function only(found: readonly KeySource[]): KeySource {
  if (found.length !== 1) throw new Error(`${found.length} sources`);
  return found[0] as KeySource;
}

/** The message of the KeySourceError that `source` fails with. */
export async function failure(source: KeySource): Promise<string> {
  const error = await source.fetch().then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  if (error?.name !== 'KeySourceError') throw new Error(`did not fail, or by ${error}`);
  return error.message;
}

/** An API server, and the way to it. */
export async function apiServer(
  t: Test,
  version: unknown,
): Promise<DocumentServer & { apiServer: ApiServerAccess }> {
  const authority = createAuthority(t);
  const server = await documentServer(t, authority.issue('kubernetes.default.svc'));
  server.documents.set('/openid/v1/jwks', KEYS).set('/version', version);
  const { pem: ca } = authority;
  const bearer = 'not-a-real-token';
  return {
    ...server,
    apiServer: {
      request: async (path) => ({ url: server.url + path, timeout: 2_000, ca, bearer }),
    },
  };
}

/** Issuers of EKS clusters: of today, of a partition of its own, of clusters of IPv6. */
export const EKS_ISSUERS = [
  'https://oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF',
  'https://oidc.eks.cn-north-1.amazonaws.com.cn/id/0123456789ABCDEF0123456789ABCDEF',
  'https://oidc-eks.us-east-1.api.aws/id/0123456789ABCDEF0123456789ABCDEF',
];
