import type { DurationMs } from '../clock.ts';
import type { AssociationChange, AssociationInput } from './association-input.ts';
import type { Association } from './associations.ts';
import type { AuditEvent, AuditQuery } from './audit.ts';
import type { Counts } from './counters.ts';
import type { Credentials } from './credential-authority.ts';
import type { ActiveFault, Fault } from './faults.ts';
import type { PublishedKey } from './issuer-keys.ts';
import type { PodOptions } from './kubelet.ts';
import type { PodView } from './pod.ts';
import type { Role } from './roles.ts';
import { CONTROL_PREFIX } from './router.ts';
import type { Settings, SettingsChange } from './settings.ts';

/** A pod of a simulator in another process. */
export interface RemotePod extends PodView {
  /** Replaces the token; this object then shows the new one. */
  rotate(): Promise<string>;
  /** The environment that EKS's webhook gives the pod. */
  environment(credentialsUri?: string): Promise<Record<string, string>>;
  /** Deletes the pod and its token file. */
  delete(): Promise<void>;
}

/** A token to mint that need not be good. */
export interface RemoteMintOptions {
  /** A pod's, with its `namespace`; default: one of its own in `default`. */
  pod?: string;
  /** The pod's. */
  namespace?: string;
  /** Over the claims; `null` removes one. */
  claims?: Record<string, unknown>;
  /** Over the claims within `kubernetes.io`; `null` removes one. */
  kubernetes?: Record<string, unknown>;
  /** Over the header; `null` removes a member. */
  header?: Record<string, unknown>;
  /** Default is that of all tokens. */
  lifetimeMs?: DurationMs;
  /** Signs with a key that is not published, under the current key's `kid`. */
  foreignKey?: boolean;
  /** The third part as it shall be, instead of a signature. */
  signature?: string;
}

/** What the control API answers with when it refuses. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  readonly status: number;
  /** The AWS error's name, where it is one. */
  readonly code: string | undefined;

  constructor(status: number, code: string | undefined, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** What stays the same while a simulator runs. */
interface Overview {
  url: string;
  issuer: string;
  region: string;
  account: string;
  clusterName: string;
  clusterArn: string;
  nodeCredentials: Credentials;
}

/** A simulator in another process: the operations of `Simulator`, over its control API. */
export type RemoteSimulator = Awaited<ReturnType<typeof connectSimulator>>;

/**
 * Connects to the control API of a running simulator.
 *
 * @param url - As the simulator prints it: `http://host:port`.
 * @throws ControlError, or what `fetch` failed with.
 */
export async function connectSimulator(url: string) {
  const base = `${url.replace(/\/$/, '')}/${CONTROL_PREFIX}`;
  const call = <T>(method: string, path: string, body?: unknown): Promise<T> =>
    request<T>(method, `${base}/${path}`, body);
  const overview = await call<Overview>('GET', '');
  const pods = remotePods(call);

  return {
    ...overview,
    kubelet: {
      createPod: async (options: PodOptions) => pods(await call('POST', 'pods', options)),
      pods: async () => (await call<{ pods: PodView[] }>('GET', 'pods')).pods.map(pods),
      pod: async (namespace: string, name: string) =>
        pods(await call('GET', `pods/${namespace}/${name}`)),
      rotateAll: () => call<void>('POST', 'rotate-all'),
      mint: async (options: RemoteMintOptions = {}) =>
        (await call<{ token: string }>('POST', 'tokens', options)).token,
      recreateServiceAccount: async (namespace: string, name: string) =>
        (await call<{ uid: string }>('POST', `service-accounts/${namespace}/${name}/recreate`)).uid,
    },
    issuerKeys: {
      jwks: () => call<{ current: string; keys: PublishedKey[] }>('GET', 'keys'),
      rotate: async (options: { algorithm?: 'RS256' | 'ES256'; publish?: boolean } = {}) =>
        (await call<{ kid: string }>('POST', 'keys/rotate', options)).kid,
      publish: () => call<void>('POST', 'keys/publish'),
      withdraw: (kid: string) => call<void>('DELETE', `keys/${kid}`),
    },
    roles: {
      put: (roleArn: string, trustPolicy?: Record<string, unknown>) =>
        call<Role>('PUT', 'roles', { roleArn, trustPolicy }),
    },
    associations: {
      create: (input: AssociationInput) => call<Association>('POST', 'associations', input),
      list: async (filter: { namespace?: string; serviceAccount?: string } = {}) =>
        (
          await call<{ associations: Association[] }>(
            'GET',
            `associations?${new URLSearchParams(filter)}`,
          )
        ).associations,
      describe: (id: string) => call<Association>('GET', `associations/${id}`),
      update: (id: string, change: AssociationChange) =>
        call<Association>('PATCH', `associations/${id}`, change),
      delete: (id: string) => call<Association>('DELETE', `associations/${id}`),
    },
    eksAuth: {
      settings: () => call<Settings>('GET', 'settings'),
      set: (change: SettingsChange) => call<Settings>('PATCH', 'settings', change),
    },
    faults: {
      add: async (fault: Fault) => (await call<{ id: string }>('POST', 'faults', fault)).id,
      clear: (id?: string) => call<void>('DELETE', id === undefined ? 'faults' : `faults/${id}`),
      list: async () => (await call<{ faults: ActiveFault[] }>('GET', 'faults')).faults,
    },
    node: {
      credentials: () => call<Credentials>('GET', 'node/credentials'),
      rotate: (options: { withSessionToken?: boolean; lifetime?: DurationMs } = {}) =>
        call<Credentials>('POST', 'node/rotate', options),
      expire: (accessKeyId?: string) => call<void>('POST', 'node/expire', { accessKeyId }),
      revoke: (accessKeyId?: string) => call<void>('POST', 'node/revoke', { accessKeyId }),
    },
    audit: {
      events: async (query: AuditQuery = {}) =>
        (await call<{ events: AuditEvent[] }>('GET', `audit?${parameters(query)}`)).events,
      clear: () => call<void>('DELETE', 'audit'),
    },
    counts: () => call<Counts>('GET', 'counts'),
    resetCounts: () => call<void>('DELETE', 'counts'),
    /** Refuses connections for `duration` milliseconds, from just after the answer on. */
    outage: (duration: DurationMs) => call<void>('POST', 'outage', { duration }),
  };
}

type Call = <T>(method: string, path: string, body?: unknown) => Promise<T>;

function remotePods(call: Call) {
  return (view: PodView): RemotePod => {
    const path = `pods/${view.namespace}/${view.name}`;
    return {
      ...view,
      async rotate() {
        Object.assign(this, await call<PodView>('POST', `${path}/rotate`));
        return this.token;
      },
      environment: (credentialsUri) =>
        call('GET', `${path}/environment?${parameters({ credentialsUri })}`),
      delete: () => call('DELETE', path),
    };
  };
}

async function request<T>(method: string, url: string, body: unknown): Promise<T> {
  const response = await fetch(url, {
    method,
    ...(body !== undefined && {
      body: JSON.stringify(body),
      headers: { 'Content-Type': 'application/json' },
    }),
  });
  const answer = (await response.json()) as T & { message?: string; code?: string };
  if (!response.ok) {
    throw new ControlError(response.status, answer.code, answer.message ?? response.statusText);
  }
  return answer;
}

function parameters(query: object): URLSearchParams {
  const present = Object.entries(query).filter(([, value]) => value !== undefined);
  return new URLSearchParams(present.map(([name, value]) => [name, String(value)]));
}
