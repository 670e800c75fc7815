import { associationChange, associationInput } from './association-input.ts';
import type { AuditQuery } from './audit.ts';
import { AWSServiceError } from './aws-error.ts';
import type { Exchange } from './exchange.ts';
import { fault } from './faults.ts';
import { podOptions } from './kubelet.ts';
import {
  flag,
  namespaceName,
  number,
  object,
  objectName,
  oneOf,
  optional,
  record,
  text,
} from './read-json.ts';
import type { Simulator } from './running-simulator.ts';

type Answer = unknown;
type Handler = (simulator: Simulator, call: ControlCall) => Answer | Promise<Answer>;

type PathNames = Record<string, string | undefined>;

interface ControlCall {
  /** What stood for the path's `:names`. */
  path: PathNames;
  query: URLSearchParams;
  /** The JSON body; `{}` where there was none. */
  body: unknown;
}

const mintOptions = object({
  namespace: optional(namespaceName),
  pod: optional(objectName),
  claims: optional(record),
  kubernetes: optional(record),
  header: optional(record),
  lifetimeMs: optional(number()),
  foreignKey: optional(flag),
  signature: optional(text()),
});
const keyRotation = object({
  algorithm: optional(oneOf(['RS256', 'ES256'])),
  publish: optional(flag),
});
const nodeRotation = object({
  withSessionToken: optional(flag),
  lifetime: optional(number({ min: 1 })),
});
const role = object({ roleArn: text(), trustPolicy: optional(record) });
const accessKey = object({ accessKeyId: optional(text()) });
const outage = object({ duration: number({ min: 1, max: 3_600_000 }) });
const AUDIT_TEXTS = [
  'service',
  'operation',
  'namespace',
  'serviceAccount',
  'pod',
  'errorCode',
] as const;

/** `<method> <path>`: what it does. Bodies and answers are JSON. */
const ROUTES: Record<string, Handler> = {
  'GET ': (simulator) => overview(simulator),

  'GET pods': ({ kubelet }) => ({ pods: [...kubelet.pods] }),
  'POST pods': ({ kubelet }, { body }) => kubelet.createPod(podOptions(body, '')),
  'GET pods/:namespace/:name': ({ kubelet }, { path }) => podOf(kubelet, path),
  'DELETE pods/:namespace/:name': ({ kubelet }, { path }) => podOf(kubelet, path).delete(),
  'POST pods/:namespace/:name/rotate': ({ kubelet }, { path }) => {
    const pod = podOf(kubelet, path);
    pod.rotate();
    return pod;
  },
  'GET pods/:namespace/:name/environment': ({ kubelet }, { path, query }) =>
    podOf(kubelet, path).environment(query.get('credentialsUri') ?? undefined),
  'POST rotate-all': ({ kubelet }) => kubelet.rotateAll(),
  'POST service-accounts/:namespace/:name/recreate': ({ kubelet }, { path }) => ({
    uid: kubelet.recreateServiceAccount(path.namespace ?? '', path.name ?? ''),
  }),
  'POST tokens': ({ kubelet }, { body }) => {
    const { namespace, pod, signature, ...options } = mintOptions(body, '');
    return {
      token: kubelet.mint({
        ...options,
        ...(pod !== undefined && { pod: kubelet.pod(namespace ?? 'default', pod) }),
        ...(signature !== undefined && { sign: () => signature }),
      }),
    };
  },

  'GET keys': ({ issuerKeys }) => ({ current: issuerKeys.current.kid, ...issuerKeys.jwks() }),
  'POST keys/rotate': ({ issuerKeys }, { body }) => ({
    kid: issuerKeys.rotate(keyRotation(body, '')),
  }),
  'POST keys/publish': ({ issuerKeys }) => issuerKeys.publish(),
  'DELETE keys/:kid': ({ issuerKeys }, { path }) => issuerKeys.withdraw(path.kid ?? ''),

  'GET associations': ({ associations }, { query }) => ({
    associations: associations.list({
      namespace: query.get('namespace') ?? undefined,
      serviceAccount: query.get('serviceAccount') ?? undefined,
    }),
  }),
  'POST associations': ({ associations }, { body }) =>
    associations.create(associationInput(body, '')),
  'GET associations/:id': ({ associations }, { path }) => associations.describe(path.id ?? ''),
  'PATCH associations/:id': ({ associations }, { path, body }) =>
    associations.update(path.id ?? '', associationChange(body, '')),
  'DELETE associations/:id': ({ associations }, { path }) => associations.delete(path.id ?? ''),
  'PUT roles': ({ roles }, { body }) => {
    const { roleArn, trustPolicy } = role(body, '');
    return roles.put(roleArn, trustPolicy);
  },

  'GET settings': ({ eksAuth }) => eksAuth.settings,
  'PATCH settings': ({ eksAuth }, { body }) => {
    eksAuth.set(record(body, 'body'));
    return eksAuth.settings;
  },
  'GET faults': ({ faults }) => ({ faults: faults.list() }),
  'POST faults': ({ faults }, { body }) => ({ id: faults.add(fault(body, '')) }),
  'DELETE faults': ({ faults }) => faults.clear(),
  'DELETE faults/:id': ({ faults }, { path }) => faults.clear(path.id),
  'POST outage': async (simulator, { body }) => {
    const { duration } = outage(body, '');
    // After the answer has left, which would not get through otherwise.
    setImmediate(() => void simulator.outage(duration));
    return undefined;
  },
  'GET node/credentials': ({ nodeCredentials }) => nodeCredentials,
  'POST node/rotate': ({ node }, { body }) => node.rotate(nodeRotation(body, '')),
  'POST node/expire': ({ node }, { body }) => node.expire(accessKey(body, '').accessKeyId),
  'POST node/revoke': ({ node }, { body }) => node.revoke(accessKey(body, '').accessKeyId),

  'GET audit': ({ audit }, { query }) => ({
    sequence: audit.sequence,
    events: audit.events(auditQuery(query)),
  }),
  'DELETE audit': ({ audit }) => audit.clear(),
  'GET counts': (simulator) => simulator.counts(),
  'DELETE counts': (simulator) => simulator.resetCounts(),
};

/** The simulator's own API under `/_simulator/`, for those in another process. */
export class ControlAPI {
  readonly #simulator: Simulator;

  constructor(simulator: Simulator) {
    this.#simulator = simulator;
  }

  /** @param segments - The path's, decoded, after the prefix. */
  async serve(exchange: Exchange, segments: readonly string[]): Promise<void> {
    const found = findRoute(exchange.method, segments);
    if (found === undefined) {
      exchange.json(404, { message: `no such operation: ${exchange.method} ${exchange.path}` });
      return;
    }
    try {
      const text = exchange.body.toString('utf8');
      const body: unknown = text === '' ? {} : JSON.parse(text);
      const call = { path: found.path, query: exchange.parameters, body };
      exchange.json(200, (await found.handler(this.#simulator, call)) ?? {});
    } catch (error) {
      if (error instanceof AWSServiceError) {
        exchange.json(error.status, { code: error.code, message: error.message });
      } else if (error instanceof TypeError || error instanceof SyntaxError) {
        exchange.json(400, { message: error.message });
      } else throw error;
    }
  }
}

function findRoute(method: string, segments: readonly string[]) {
  const parts = segments.filter((segment) => segment !== '');
  for (const [route, handler] of Object.entries(ROUTES)) {
    const [routeMethod, pattern = ''] = route.split(' ');
    const names = pattern === '' ? [] : pattern.split('/');
    if (routeMethod !== method || names.length !== parts.length) continue;
    const path: PathNames = {};
    const fits = names.every((name, index) => {
      const part = parts[index] as string;
      if (name.startsWith(':')) path[name.slice(1)] = part;
      return name.startsWith(':') || name === part;
    });
    if (fits) return { handler, path };
  }
  return undefined;
}

function overview(simulator: Simulator) {
  const { url, issuer, region, account, clusterName, clusterArn, nodeCredentials } = simulator;
  return { url, issuer, region, account, clusterName, clusterArn, nodeCredentials };
}

function podOf(kubelet: Simulator['kubelet'], path: PathNames) {
  return kubelet.pod(path.namespace ?? '', path.name ?? '');
}

function auditQuery(query: URLSearchParams): AuditQuery {
  const wanted: AuditQuery = {};
  for (const [name, value] of query) {
    if (name === 'after' || name === 'limit') {
      wanted[name] = number({ min: 0, integer: true })(Number(value), name);
    } else if ((AUDIT_TEXTS as readonly string[]).includes(name)) {
      wanted[name as (typeof AUDIT_TEXTS)[number]] = value;
    } else
      throw new TypeError(`${name} is not known; known: ${AUDIT_TEXTS.join(', ')}, after, limit`);
  }
  return wanted;
}
