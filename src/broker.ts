import { setTimeout as pause } from 'node:timers/promises';
import { type DurationMs, ServiceClock, systemClock } from './clock.ts';
import { version } from './commands/version.ts';
import type { Config } from './config/config.ts';
import { createCredentialsLoader } from './eks-auth/load-node-credentials.ts';
import { NodeCredentialsKeeper } from './eks-auth/node-credentials.ts';
import { resolveRegion } from './eks-auth/region.ts';
import { Identity } from './identity/identity.ts';
import { IssuerSearch } from './identity/issuer-search.ts';
import { KeyCache } from './identity/key-cache.ts';
import { KeyRing } from './identity/key-ring.ts';
import { keySources } from './identity/key-sources.ts';
import { type ApiServerAccess, inClusterAccess, kubeconfigAccess } from './kubernetes/access.ts';
import type { ApiClient } from './kubernetes/api-client.ts';
import type { StartupTaint } from './kubernetes/startup-taint.ts';
import { AdminSocket, AdminSocketError } from './listener/admin-socket.ts';
import { Listener } from './listener/listener.ts';
import { brokerStatus, explain, metricSources, type Rooms } from './observation.ts';
import { TokenScopeFallback, watchedStates } from './observed-states.ts';
import { openStore } from './open-store.ts';
import type { PodAwareness } from './pod-awareness.ts';
import { CallPace } from './sessions/call-pace.ts';
import { CallQueue } from './sessions/call-queue.ts';
import { CredentialRequests } from './sessions/credential-requests.ts';
import { Flights } from './sessions/flight.ts';
import { RoleSessions } from './sessions/role-sessions.ts';
import { scopeOf, sessionKey } from './sessions/session-key.ts';
import { SessionLog } from './sessions/session-log.ts';
import { isChosen } from './sessions/stored-sessions.ts';
import { UnverifiedBudget } from './sessions/unverified-budget.ts';
import { Succession } from './succession.ts';
import type { Log } from './telemetry/log.ts';
import { Metrics } from './telemetry/metrics.ts';
import { RepeatedFaults } from './telemetry/repeated-faults.ts';
import { StateWatch } from './telemetry/state-watch.ts';
import { collectTraces } from './telemetry/trace-collection.ts';
import { Tracing } from './telemetry/tracing.ts';
import { EksAuthCaller } from './workers/eks-auth-caller.ts';
import { WorkerPool } from './workers/pool.ts';
import { transportEnvironment } from './workers/settings.ts';

/** How much longer than a client's wait the broker gives its last answers when it stops. */
const STOP_MARGIN: DurationMs = 1_000;
/** How long sessions may take to come out of Redis before pods are answered without them. */
const WARM_START: DurationMs = 200;
/** How long what was fetched last may take to be kept when the broker stops. */
const KEEP_TIMEOUT: DurationMs = 500;
/** How long pending spans may take to be sent when the broker stops. */
const FLUSH_TIMEOUT: DurationMs = 2_000;

/** A broker that runs. */
export interface Broker {
  /** Answers what was accepted, and ends. */
  stop(): Promise<void>;
}

/**
 * Builds the rooms and starts them.
 *
 * @param config - What the user asked for.
 * @param environment - For AWS's own variables, proxies and the way to the API server.
 * @param signal - Ends a start that waits for a port.
 * @throws ListenError, KubeconfigError: when it cannot run as asked for.
 */
export async function startBroker(
  config: Config,
  environment: NodeJS.ProcessEnv,
  log: Log,
  signal: AbortSignal,
): Promise<Broker> {
  const clock = new ServiceClock(systemClock);
  const metrics = new Metrics();
  const traces = await collectTraces(environment, version(), log);
  const tracing = traces && new Tracing(traces.tracer, config.trustTraceparent);
  const workers = new WorkerPool({
    threads: config.workers,
    settings: {
      clusterName: config.clusterName,
      endpoint: config.endpoint?.href,
      fips: /^true$/i.test(environment.AWS_USE_FIPS_ENDPOINT ?? ''),
      connectTimeout: config.connectTimeout,
      attemptTimeout: config.attemptTimeout,
      userAgent: `pod-identity-broker/${version()}`,
      environment: transportEnvironment(environment),
    },
    clock,
    log,
    onReplaced: () => metrics.workersReplaced.inc(),
  });
  const apiServer =
    config.kubeconfig === undefined
      ? await inClusterAccess(environment)
      : await kubeconfigAccess(config.kubeconfig);
  const apiClient = await clientFor(apiServer, config, environment, log);

  const keyRing = new KeyRing({
    clock,
    log,
    sourcesOf: (issuer) =>
      keySources(issuer, {
        workers,
        jwksFile: config.jwksFile,
        jwksUri: config.jwksUri,
        apiServer,
      }),
    patience: config.clientWait,
    cache: config.jwksCache === undefined ? undefined : new KeyCache(config.jwksCache),
    clusterName: config.clusterName,
    onChange: (isPublished) => {
      identity.forgetUnpublished(isPublished);
      requests.adoptUnverified().catch((error: unknown) => {
        log.error({ err: error }, 'sessions of unverified tokens could not be adopted');
      });
    },
  });
  const identity: Identity = new Identity({
    clock,
    workers,
    keyRing,
    expected: { audience: config.tokenAudience, nodeName: config.nodeName },
    maxVerifiedTokens: config.maxVerifiedTokens,
    maxPodQps: config.maxPodQps,
    sessionKeyOf: (pod, token) => sessionKey(pod, token, scopeOf(pod, config)),
    onJudged: (result) => metrics.localValidation.inc({ result }),
  });

  const credentials = new NodeCredentialsKeeper({
    clock,
    load: createCredentialsLoader((message) => log.debug({ message }, 'node credentials')),
    rotate: config.rotateCredentials,
  });
  const caller = new EksAuthCaller({
    workers,
    credentials,
    region: () => resolveRegion(environment),
    onServiceTime: (time) => {
      if (!clock.hear(time)) return;
      log.warn({ aheadBySeconds: Math.round(clock.skew / 1_000) }, "the node's clock is off");
    },
  });
  const pace = new CallPace(clock, config.maxCallQps);
  const queue = new CallQueue(clock, pace, config.maxServiceQps);
  const faults = new RepeatedFaults(clock, log);
  const fallback = new TokenScopeFallback(clock);
  const store =
    config.redis &&
    (await openStore({
      config,
      redis: config.redis,
      clock,
      log,
      metrics,
      faults,
      sessions: () => sessions,
    }));
  const sessions: RoleSessions = new RoleSessions({
    clock,
    log,
    sessionLog: new SessionLog(log, faults),
    flights: new Flights({
      clock,
      log,
      queue,
      assumeRole: (token) => caller.assumeRole(token),
      audience: config.tokenAudience,
      flightTimeout: config.flightTimeout,
      random: Math.random,
      onCall: (failure, duration) => metrics.called(failure, duration),
      store,
    }),
    store,
    maxCredentialRetention: config.maxCredentialRetention,
    maxCacheSize: config.maxCacheSize,
    random: Math.random,
    tracing,
    onRenewal: (renewal) => metrics.renewed(renewal),
    onEviction: () => metrics.evicted(),
  });
  const pods = await podAwareness(apiClient, { config, clock, faults, metrics, sessions });
  const requests: CredentialRequests = new CredentialRequests({
    clock,
    log,
    identity,
    sessions,
    queue,
    budget: new UnverifiedBudget(clock, config.maxUnverifiedQps, config.maxUnverifiedQpsPerAddress),
    scopeRules: config,
    clientWait: config.clientWait,
    keyRing,
    podGate: pods?.gate,
    onUnverified: (cause) => {
      metrics.unverified.inc({ cause });
      fallback.unverified(cause);
    },
    onCallSaved: () => metrics.callSaved(),
  });
  const listener = new Listener({
    clock,
    config,
    log,
    metrics,
    requests,
    workersReady: () => workers.ready,
    tracing,
    signal,
  });
  const rooms: Rooms = {
    clock,
    config,
    version: version(),
    sessions,
    queue,
    pace,
    identity,
    keyRing,
    workers,
    credentials,
    listener,
    store,
    pods,
  };
  metrics.observe(metricSources(rooms));
  const watch = new StateWatch(clock, log, watchedStates(rooms, fallback));
  watch.start();

  const taint = await startupTaint(apiClient, { config, clock, log, faults });
  const succession = new Succession({
    clock,
    config,
    log,
    metrics,
    sessions,
    listener,
    admin: () => admin,
  });
  const admin: AdminSocket = new AdminSocket(
    config.adminSocket,
    {
      flush: async (chosen) => {
        // First where others look, so that nothing comes back from there.
        const reachedStore = store && (await store.flush(chosen));
        const flushed = sessions.flush((session) => isChosen(chosen, session));
        log.info({ ...chosen, flushed, reachedStore }, 'sessions flushed by the operator');
        return { flushed, reachedStore };
      },
      status: () => brokerStatus(rooms),
      explain: (token) => explain(token, rooms),
      handOver: succession.actions,
    },
    log,
  );
  const issuer = new IssuerSearch({ keyRing, workers, apiServer, clock, log });
  issuer.start(config.tokenIssuer, workers.started());
  credentials.start();
  caller.warmUp();
  // Pods are not answered before what was kept for them is there, or takes too long.
  const warm = store && Promise.race([store.start(), pause(WARM_START, undefined, { ref: false })]);
  try {
    const [predecessor] = await Promise.all([succession.succeed(), warm]);
    // With somebody there who answers, this one has time until it can do so without delay.
    if (predecessor !== undefined) await workers.started();
    const listening = listener.start(predecessor);
    await Promise.all([
      listening,
      workers.started(),
      // The predecessor has let go of its own by then.
      (predecessor === undefined ? admin.start() : listening.then(() => admin.start())).catch(
        (error: unknown) => {
          if (config.adminSocketNamed || !(error instanceof AdminSocketError)) throw error;
          log.warn({ reason: error.message }, 'going on without an admin socket');
        },
      ),
    ]);
  } catch (error) {
    await stop();
    throw error;
  }
  if (!signal.aborted) {
    log.info({ clusterName: config.clusterName, sessionScope: config.sessionScope }, 'ready');
    // Not waited for: the broker answers, whatever the API server does.
    void taint?.keepOff();
  }

  return {
    async stop() {
      log.info('stopping');
      await stop();
      log.info('stopped');
    },
  };

  async function stop(): Promise<void> {
    succession.stop();
    await listener.stop(config.clientWait + STOP_MARGIN);
    await admin.stop();
    await store?.stop(KEEP_TIMEOUT);
    issuer.stop();
    taint?.stop();
    pods?.stop();
    await apiClient?.close();
    keyRing.stop();
    sessions.stop();
    queue.stop();
    watch.stop();
    faults.stop();
    credentials.stop();
    metrics.stop();
    await workers.close();
    // A collector that does not answer must not hold the process up.
    await Promise.race([traces?.shutdown(), pause(FLUSH_TIMEOUT, undefined, { ref: false })]);
  }
}

/** Pods or the taint of this node were asked for, and nothing leads to the API server. */
class NoApiServerError extends Error {
  override readonly name = 'NoApiServerError';
}

/** Loads what asks the API server about this node, where that is wanted. */
async function clientFor(
  access: ApiServerAccess | undefined,
  { watchPods, startupTaint }: Config,
  environment: NodeJS.ProcessEnv,
  log: Log,
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
  const { ApiClient } = await import('./kubernetes/api-client.ts');
  return new ApiClient(access, transportEnvironment(environment));
}

async function podAwareness(
  client: ApiClient | undefined,
  rooms: Pick<Rooms, 'config' | 'clock' | 'sessions'> & {
    faults: RepeatedFaults;
    metrics: Metrics;
  },
): Promise<PodAwareness | undefined> {
  const { watchPods: mode, nodeName } = rooms.config;
  if (client === undefined || mode === 'off' || nodeName === undefined) return undefined;
  const { watchPods } = await import('./pod-awareness.ts');
  return watchPods({ client, mode, nodeName, ...rooms });
}

async function startupTaint(
  client: ApiClient | undefined,
  rooms: Pick<Rooms, 'config' | 'clock'> & { faults: RepeatedFaults; log: Log },
): Promise<StartupTaint | undefined> {
  const { startupTaint: key, nodeName } = rooms.config;
  if (client === undefined || key === undefined || nodeName === undefined) return undefined;
  const { StartupTaint } = await import('./kubernetes/startup-taint.ts');
  return new StartupTaint({ client, key, nodeName, random: Math.random, ...rooms });
}
