import { type ApiServerAccess, inClusterAccess, kubeconfigAccess } from '../kubernetes/access.ts';
import type { ApiClient } from '../kubernetes/api-client.ts';
import type { StartupTaint } from '../kubernetes/startup-taint.ts';
import type { RoleSessions } from '../sessions/role-sessions.ts';
import type { Workers } from '../workers/pool.ts';
import type { BrokerContext } from './context.ts';
import type { PodAwareness } from './pod-awareness.ts';

/** `--watch-pods=enforce` or `--startup-taint` is set, but there is no access to the API server. */
class NoApiServerError extends Error {
  override readonly name = 'NoApiServerError';
  readonly code = 'ERR_NO_API_SERVER';
}

/** Access to the API server. */
export interface ApiServer {
  /** For the issuer and its keys; undefined: there is no access. */
  readonly access: ApiServerAccess | undefined;
  /** For this node's pods and its taint; undefined: there is no access, or it is not needed. */
  readonly client: ApiClient | undefined;
}

/**
 * Finds the API server, and loads its client if pods are watched or a taint is to be removed.
 *
 * @throws KubeconfigError, NoApiServerError
 */
export async function apiServer(context: BrokerContext, workers: Workers): Promise<ApiServer> {
  const { config, environment } = context;
  const access =
    config.kubeconfig === undefined
      ? await inClusterAccess(environment)
      : await kubeconfigAccess(config.kubeconfig);
  return { access, client: await clientFor(access, context, workers) };
}

async function clientFor(
  access: ApiServerAccess | undefined,
  { config: { watchPods, startupTaint }, log }: BrokerContext,
  workers: Workers,
): Promise<ApiClient | undefined> {
  if (watchPods === 'off' && startupTaint === undefined) return undefined;
  if (access === undefined) {
    const reason =
      'there is no access to the API server: no service account token, no --kubeconfig';
    if (watchPods === 'enforce') throw new NoApiServerError(`--watch-pods=enforce: ${reason}`);
    if (startupTaint !== undefined) throw new NoApiServerError(`--startup-taint: ${reason}`);
    log.warn({ reason }, 'going on without a watch of pods');
    return undefined;
  }
  const { ApiClient } = await import('../kubernetes/api-client.ts');
  return new ApiClient(access, workers);
}

/** Starts to watch this node's pods, if that is enabled. */
export async function podAwareness(
  client: ApiClient | undefined,
  context: BrokerContext,
  sessions: RoleSessions,
): Promise<PodAwareness | undefined> {
  const { watchPods: mode, nodeName } = context.config;
  if (client === undefined || mode === 'off' || nodeName === undefined) return undefined;
  const { watchPods } = await import('./pod-awareness.ts');
  const pods = watchPods({ ...context, client, mode, nodeName, sessions });
  context.stops.defer(() => pods.stop());
  return pods;
}

/** Creates what removes this node's start-up taint, if that is enabled. */
export async function startupTaint(
  client: ApiClient | undefined,
  { config, clock, log, faults, stops }: BrokerContext,
): Promise<StartupTaint | undefined> {
  const { startupTaint: key, nodeName } = config;
  if (client === undefined || key === undefined || nodeName === undefined) return undefined;
  const { StartupTaint } = await import('../kubernetes/startup-taint.ts');
  const random = Math.random;
  const taint = new StartupTaint({ client, key, nodeName, random, clock, log, faults });
  stops.defer(() => taint.stop());
  return taint;
}
