import { dirname, resolve } from 'node:path';
import type { DurationMs } from '../clock.ts';
import type { GetRequest } from '../http/get-request.ts';
import { readTextFile } from '../read-file.ts';

/** How long the API server may take for one document. */
const TIMEOUT: DurationMs = 2_000;

/** Where a pod finds its own service account's token and the API server's CA. */
const IN_CLUSTER = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The way to the API server; credentials are read anew for each request, since they rotate. */
export interface ApiServerAccess {
  /**
   * The request for one path, ready to be carried out.
   *
   * @param timeout - How long each file may take to be read. Default is 2 s.
   */
  request(path: string, timeout?: DurationMs): Promise<GetRequest>;
}

/** A kubeconfig that cannot be used; `message` says why and names the file. */
export class KubeconfigError extends Error {
  override readonly name = 'KubeconfigError';
  readonly code = 'ERR_KUBECONFIG';
}

/**
 * Access to the API server as a pod has it: its service account's token and CA, and the
 * address from the environment.
 *
 * @returns Undefined outside a cluster, or in a pod without a service account token (the
 *   existing agent's pods mount none).
 * @see https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
 */
export async function inClusterAccess(
  environment: NodeJS.ProcessEnv,
  folder: string = IN_CLUSTER,
): Promise<ApiServerAccess | undefined> {
  const host = environment.KUBERNETES_SERVICE_HOST;
  const port = environment.KUBERNETES_SERVICE_PORT ?? '443';
  if (!host) return undefined;
  const credentials = async (timeout?: DurationMs) => ({
    bearer: (await readTextFile(`${folder}/token`, { timeout })).trim(),
    ca: await readTextFile(`${folder}/ca.crt`, { timeout }),
  });
  try {
    await credentials();
  } catch {
    // None is mounted, or not for this user.
    return undefined;
  }
  const origin = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  return {
    request: async (path, timeout) => ({
      url: origin + path,
      timeout: TIMEOUT,
      ...(await credentials(timeout)),
    }),
  };
}

/** The parts of a kubeconfig that are read here. */
interface Kubeconfig {
  'current-context'?: string;
  contexts?: { name: string; context: { cluster: string; user: string } }[];
  clusters?: { name: string; cluster: Record<string, unknown> }[];
  users?: { name: string; user: Record<string, unknown> }[];
}

/**
 * Access to the API server as a kubeconfig file describes it, by its current context. Users
 * with a token, a token file or a client certificate are supported.
 *
 * @param file - Path of the kubeconfig.
 * @throws KubeconfigError when it cannot be read or asks for something that is not supported
 *   (an `exec` or `auth-provider` plugin, `insecure-skip-tls-verify`).
 * @see https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
 */
export async function kubeconfigAccess(file: string): Promise<ApiServerAccess> {
  const read = (timeout?: DurationMs) => readKubeconfig(file, timeout);
  await (await read())('/version');
  return { request: async (path, timeout) => (await read(timeout))(path) };
}

async function readKubeconfig(
  file: string,
  timeout: DurationMs | undefined,
): Promise<(path: string) => Promise<GetRequest>> {
  const { parse } = await import('yaml');
  let config: Kubeconfig;
  try {
    config = (parse(await readTextFile(file, { timeout })) ?? {}) as Kubeconfig;
  } catch (error) {
    throw new KubeconfigError(`${file} cannot be read: ${(error as Error).message.split('\n')[0]}`);
  }
  const context = named(file, 'context', config.contexts, config['current-context']).context as
    | { cluster?: string; user?: string }
    | undefined;
  const cluster = named(file, 'cluster', config.clusters, context?.cluster).cluster as Member;
  const user = named(file, 'user', config.users, context?.user).user as Member;
  for (const unsupported of ['exec', 'auth-provider', 'username']) {
    if (user?.[unsupported] !== undefined) {
      throw new KubeconfigError(`${file}: a user with ${unsupported} is not supported`);
    }
  }
  if (cluster?.['insecure-skip-tls-verify'] === true) {
    throw new KubeconfigError(`${file}: insecure-skip-tls-verify is not supported`);
  }
  const server = URL.parse(String(cluster?.server ?? ''));
  if (server?.protocol !== 'https:') {
    throw new KubeconfigError(`${file}: the server of the cluster has to be an https URL`);
  }
  const folder = dirname(file);
  const content = async (holder: Member, name: string): Promise<string | undefined> => {
    const data = holder?.[`${name}-data`];
    if (typeof data === 'string') return Buffer.from(data, 'base64').toString('utf8');
    const path = holder?.[name];
    if (typeof path !== 'string') return undefined;
    try {
      return await readTextFile(resolve(folder, path), { timeout });
    } catch (error) {
      throw new KubeconfigError(`${file}: ${name} cannot be read: ${(error as Error).message}`);
    }
  };
  const ca = await content(cluster, 'certificate-authority');
  const cert = await content(user, 'client-certificate');
  const key = await content(user, 'client-key');
  if ((cert === undefined) !== (key === undefined)) {
    throw new KubeconfigError(`${file}: client-certificate and client-key need each other`);
  }
  // The file is the newer one, where there are both (as client-go has it).
  const token = (await content(user, 'tokenFile'))?.trim() ?? user?.token;
  return async (path) => ({
    url: server.href.replace(/\/$/, '') + path,
    timeout: TIMEOUT,
    ...(ca === undefined ? {} : { ca }),
    ...(typeof token === 'string' ? { bearer: token } : {}),
    ...(cert === undefined || key === undefined ? {} : { clientCertificate: { cert, key } }),
  });
}

type Member = Readonly<Record<string, unknown>> | undefined;

function named(
  file: string,
  kind: string,
  list: readonly { name: string }[] | undefined,
  name: string | undefined,
): Readonly<Record<string, unknown>> {
  const found = Array.isArray(list) ? list.find((entry) => entry?.name === name) : undefined;
  if (name === undefined || found === undefined) {
    throw new KubeconfigError(`${file} has no ${kind} ${name === undefined ? 'set' : name}`);
  }
  return found as unknown as Readonly<Record<string, unknown>>;
}
