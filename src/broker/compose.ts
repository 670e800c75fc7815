import type { DurationMs } from '../clock.ts';
import { Identity } from '../identity/identity.ts';
import { IssuerSearch } from '../identity/issuer-search.ts';
import { KeyCache } from '../identity/key-cache.ts';
import { KeyRing } from '../identity/key-ring.ts';
import { keySources } from '../identity/key-sources.ts';
import type { ApiServerAccess } from '../kubernetes/access.ts';
import type { StartupTaint } from '../kubernetes/startup-taint.ts';
import { AdminSocket } from '../listener/admin-socket.ts';
import { Listener } from '../listener/listener.ts';
import type { RedisSessionStore } from '../session-store/redis-session-store.ts';
import { CredentialRequests } from '../sessions/credential-requests.ts';
import { Flights } from '../sessions/flights.ts';
import { RoleSessions } from '../sessions/role-sessions.ts';
import { scopeOf, sessionKey } from '../sessions/session-key.ts';
import { SessionLog } from '../sessions/session-log.ts';
import { isChosen } from '../sessions/stored-sessions.ts';
import { UnverifiedBudget } from '../sessions/unverified-budget.ts';
import { StateWatch } from '../telemetry/state-watch.ts';
import type { EksAuthCaller } from '../workers/eks-auth-caller.ts';
import type { WorkerPool } from '../workers/pool.ts';
import { apiServer, podAwareness, startupTaint } from './api-server.ts';
import { type CallPath, callPath } from './call-path.ts';
import type { Components } from './components.ts';
import { type BrokerContext, type BrokerInput, createContext } from './context.ts';
import { explain } from './explain.ts';
import { metricSources } from './metric-sources.ts';
import { openStore } from './open-store.ts';
import type { PodAwareness } from './pod-awareness.ts';
import { brokerStatus } from './status.ts';
import { Succession } from './succession.ts';
import { TokenScopeFallback, watchedStates } from './watched-states.ts';

/** When the broker stops, its last answers may take this much longer than the client wait. */
const STOP_MARGIN: DurationMs = 1_000;
/** How long pending writes to the store may take when the broker stops. */
const KEEP_TIMEOUT: DurationMs = 500;

/** The components of a broker that have to be started. */
export interface Composition {
  readonly workers: WorkerPool;
  readonly credentials: Components['credentials'];
  readonly caller: EksAuthCaller;
  readonly issuer: IssuerSearch;
  readonly store: RedisSessionStore | undefined;
  readonly listener: Listener;
  readonly admin: AdminSocket;
  readonly succession: Succession;
  readonly watch: StateWatch;
  readonly taint: StartupTaint | undefined;
}

/**
 * Builds all components, and adds to `input.stops` how to stop them, in reverse order: listeners
 * first, then sessions and workers, then metrics and traces.
 *
 * @throws KubeconfigError, NoApiServerError, TraceConfigError: it cannot run with this
 *   configuration.
 */
export async function compose(input: BrokerInput): Promise<Composition> {
  const context = await createContext(input);
  const { config, clock, log, metrics, stops } = context;
  const path = callPath(context);
  const { workers } = path;
  const { access, client } = await apiServer(context, workers);
  const { keyRing, identity } = tokenVerification(context, workers, access, () =>
    requests.adoptUnverified(),
  );
  let pods: PodAwareness | undefined;
  const isLivePod = (uid: string) => pods?.isLive(uid) ?? false;
  const { store, sessions } = await roleSessions(context, path, isLivePod);
  pods = await podAwareness(client, context, sessions);
  const fallback = new TokenScopeFallback(clock);
  const requests: CredentialRequests = credentialRequests(context, {
    identity,
    keyRing,
    sessions,
    queue: path.queue,
    pods,
    fallback,
  });
  const listener = new Listener({ ...context, requests, workersReady: () => workers.ready });
  const components: Components = {
    ...path,
    clock,
    config,
    version: context.version,
    logLinesDropped: context.logLinesDropped,
    sessions,
    identity,
    keyRing,
    listener,
    store,
    pods,
  };
  metrics.observe(metricSources(components));
  const watch = new StateWatch(clock, log, watchedStates(components, fallback));
  stops.defer(() => watch.stop());
  const taint = await startupTaint(client, context);
  const succession = new Succession({
    clock,
    config,
    log,
    metrics: metrics.node,
    sessions,
    listener,
    admin: () => admin,
  });
  const admin = adminSocket(context, components, succession);
  const issuer = new IssuerSearch({ keyRing, workers, apiServer: access, clock, log });
  stops.defer(() => issuer.stop());
  // The operator and a successor are answered until the last answer has been sent.
  stops.defer(() => admin.stop());
  stops.defer(() => listener.stop(config.clientWait + STOP_MARGIN));
  stops.defer(() => succession.stop());
  return { ...path, issuer, store, listener, admin, succession, watch, taint };
}

function tokenVerification(
  { config, clock, log, metrics, stops }: BrokerContext,
  workers: WorkerPool,
  access: ApiServerAccess | undefined,
  adoptUnverified: () => Promise<void>,
): { readonly keyRing: KeyRing; readonly identity: Identity } {
  const { jwksFile, jwksUri } = config;
  const keyRing = new KeyRing({
    clock,
    log,
    sourcesOf: (issuer) =>
      keySources(issuer, { clock, workers, jwksFile, jwksUri, apiServer: access }),
    patience: config.clientWait,
    cache: config.jwksCache === undefined ? undefined : new KeyCache(config.jwksCache),
    clusterName: config.clusterName,
    onChange: (isPublished) => {
      identity.forgetUnpublished(isPublished);
      adoptUnverified().catch((error: unknown) => {
        log.error({ err: error }, 'sessions of unverified tokens could not be adopted');
      });
    },
  });
  stops.defer(() => keyRing.stop());
  const identity: Identity = new Identity({
    clock,
    workers,
    keyRing,
    expected: { audience: config.tokenAudience, nodeName: config.nodeName },
    maxVerifiedTokens: config.maxVerifiedTokens,
    maxPodQps: config.maxPodQps,
    sessionKeyOf: (pod, token) => sessionKey(pod, token, scopeOf(pod, config)),
    onJudged: (result) => metrics.tokens.localValidation.inc({ result }),
  });
  return { keyRing, identity };
}

async function roleSessions(
  context: BrokerContext,
  { queue, caller }: CallPath,
  isLivePod: (uid: string) => boolean,
): Promise<{ readonly store: RedisSessionStore | undefined; readonly sessions: RoleSessions }> {
  const { config, clock, log, metrics, tracing, faults, stops } = context;
  const { redis } = config;
  const store = redis && (await openStore({ ...context, redis, sessions: () => sessions }));
  stops.defer(() => store?.stop(KEEP_TIMEOUT));
  const sessions: RoleSessions = new RoleSessions({
    clock,
    log,
    sessionLog: new SessionLog(log, faults),
    flights: new Flights({
      clock,
      log,
      queue,
      assumeRole: (token) => caller.assumeRole(token),
      obstacle: () => caller.obstacle,
      audience: config.tokenAudience,
      flightTimeout: config.flightTimeout,
      random: Math.random,
      onCall: (failure, duration) => metrics.calls.called(failure, duration),
      onUnexpected: () => metrics.process.unexpectedErrors.inc(),
      store,
    }),
    store,
    maxCredentialRetention: config.maxCredentialRetention,
    maxCacheSize: config.maxCacheSize,
    random: Math.random,
    tracing,
    isLivePod,
    onRenewal: (renewal) => metrics.sessions.renewed(renewal),
    onEviction: () => metrics.sessions.evicted(),
  });
  stops.defer(() => sessions.stop());
  return { store, sessions };
}

function credentialRequests(
  { config, clock, log, metrics }: BrokerContext,
  {
    pods,
    fallback,
    ...rest
  }: Pick<Components, 'identity' | 'keyRing' | 'sessions' | 'queue'> & {
    readonly pods: PodAwareness | undefined;
    readonly fallback: TokenScopeFallback;
  },
): CredentialRequests {
  return new CredentialRequests({
    ...rest,
    clock,
    log,
    budget: new UnverifiedBudget(clock, config.maxUnverifiedQps, config.maxUnverifiedQpsPerAddress),
    scopeRules: config,
    clientWait: config.clientWait,
    podGate: pods?.gate,
    onUnverified: (cause) => {
      metrics.calls.unverified.inc({ cause });
      fallback.unverified(cause);
    },
    onCallSaved: () => metrics.sessions.callSaved(),
  });
}

function adminSocket(
  { config, log }: BrokerContext,
  components: Components,
  succession: Succession,
): AdminSocket {
  const { store, sessions } = components;
  return new AdminSocket(
    config.adminSocket,
    {
      flush: async (chosen) => {
        // The store first, so that no session comes back from there.
        const reachedStore = store && (await store.flush(chosen));
        const flushed = sessions.flush((session) => isChosen(chosen, session));
        // What is handed over after this has been flushed.
        const reachedPredecessor = await succession.flush(chosen);
        const reached = { flushed, reachedStore, reachedPredecessor };
        log.info({ ...chosen, ...reached }, 'sessions flushed by the operator');
        return reached;
      },
      status: () => brokerStatus(components),
      explain: (token) => explain(token, components),
      handOver: succession.actions,
    },
    log,
  );
}
