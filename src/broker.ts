import { type Clock, type DurationMs, systemClock } from './clock.ts';
import { version } from './commands/version.ts';
import type { Config } from './config/config.ts';
import { createCredentialsLoader } from './eks-auth/load-node-credentials.ts';
import { NodeCredentialsKeeper } from './eks-auth/node-credentials.ts';
import { resolveRegion } from './eks-auth/region.ts';
import { Identity } from './identity/identity.ts';
import { KeyRing } from './identity/key-ring.ts';
import { issuerOfApiServer, keySources } from './identity/key-sources.ts';
import { type ApiServerAccess, inClusterAccess, kubeconfigAccess } from './kubernetes/access.ts';
import { Listener } from './listener/listener.ts';
import { CallPace } from './sessions/call-pace.ts';
import { CallQueue } from './sessions/call-queue.ts';
import { CredentialRequests } from './sessions/credential-requests.ts';
import { Flights } from './sessions/flight.ts';
import { RoleSessions } from './sessions/role-sessions.ts';
import { scopeOf, sessionKey } from './sessions/session-key.ts';
import { UnverifiedBudget } from './sessions/unverified-budget.ts';
import type { Log } from './telemetry/log.ts';
import { Metrics } from './telemetry/metrics.ts';
import { EksAuthCaller } from './workers/eks-auth-caller.ts';
import { WorkerPool } from './workers/pool.ts';
import { transportEnvironment } from './workers/settings.ts';

/** How much longer than a client's wait the broker gives its last answers when it stops. */
const STOP_MARGIN: DurationMs = 1_000;
/** How often the API server is asked for the issuer until it has answered. */
const ISSUER_RETRY: DurationMs = 5_000;

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
  const clock = systemClock;
  const metrics = new Metrics();
  const workers = new WorkerPool(config.workers, {
    clusterName: config.clusterName,
    endpoint: config.endpoint?.href,
    fips: /^true$/i.test(environment.AWS_USE_FIPS_ENDPOINT ?? ''),
    connectTimeout: config.connectTimeout,
    attemptTimeout: config.attemptTimeout,
    userAgent: `pod-identity-broker/${version()}`,
    environment: transportEnvironment(environment),
  });
  const apiServer =
    config.kubeconfig === undefined
      ? await inClusterAccess(environment)
      : await kubeconfigAccess(config.kubeconfig);

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
  });
  const queue = new CallQueue(clock, new CallPace(clock), config.maxServiceQps);
  const sessions = new RoleSessions({
    clock,
    log,
    flights: new Flights({
      clock,
      log,
      queue,
      assumeRole: (token) => caller.assumeRole(token),
      audience: config.tokenAudience,
      flightTimeout: config.flightTimeout,
      random: Math.random,
      onCall: (failure) => metrics.calls.inc({ result: failure?.kind ?? 'ok' }),
    }),
    maxCredentialRetention: config.maxCredentialRetention,
    maxCacheSize: config.maxCacheSize,
    random: Math.random,
    onRenewal: (renewal) => metrics.renewed(renewal),
    onEviction: () => metrics.evicted(),
  });
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
    onUnverified: (cause) => metrics.unverified.inc({ cause }),
  });
  const listener = new Listener({
    clock,
    config,
    log,
    metrics,
    requests,
    workersReady: () => workers.ready,
    signal,
  });
  metrics.observe({
    sessions: () => sessions.size,
    verifiedTokens: () => identity.remembered,
    waitingCalls: () => queue.waiting,
  });

  const stopIssuer = findIssuer(config, keyRing, workers, apiServer, clock, log);
  credentials.start();
  caller.warmUp();
  try {
    await Promise.all([listener.start(), workers.started()]);
  } catch (error) {
    await workers.close();
    throw error;
  }
  if (!signal.aborted) {
    log.info({ clusterName: config.clusterName, sessionScope: config.sessionScope }, 'ready');
  }

  return {
    async stop() {
      log.info('stopping');
      await listener.stop(config.clientWait + STOP_MARGIN);
      stopIssuer();
      keyRing.stop();
      sessions.stop();
      queue.stop();
      credentials.stop();
      await workers.close();
      log.info('stopped');
    },
  };
}

/**
 * Sets the issuer: the one that was given, else the one that the API server names. Without
 * either it is learned from the first token that EKS Auth accepts.
 *
 * @returns What ends the search.
 */
function findIssuer(
  config: Config,
  keyRing: KeyRing,
  workers: WorkerPool,
  apiServer: ApiServerAccess | undefined,
  clock: Clock,
  log: Log,
): () => void {
  let stopped = false;
  const search = async (access: ApiServerAccess, first: boolean): Promise<void> => {
    if (stopped || keyRing.issuer !== undefined) return;
    try {
      await keyRing.useIssuer(await issuerOfApiServer(workers, access));
    } catch (error) {
      if (first) log.warn({ reason: (error as Error).message }, 'issuer is not known yet');
      clock.setTimeout(() => void search(access, false), ISSUER_RETRY).unref();
    }
  };
  if (config.tokenIssuer !== undefined) void keyRing.useIssuer(config.tokenIssuer);
  else if (apiServer !== undefined) void search(apiServer, true);
  else log.info('the token issuer is taken from the first token that EKS Auth accepts');
  return () => {
    stopped = true;
  };
}
