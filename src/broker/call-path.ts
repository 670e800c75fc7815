import { createCredentialsLoader } from '../eks-auth/load-node-credentials.ts';
import { NodeCredentialsKeeper } from '../eks-auth/node-credentials.ts';
import { resolveRegion } from '../eks-auth/region.ts';
import { CallPace } from '../sessions/call-pace.ts';
import { CallQueue } from '../sessions/call-queue.ts';
import { EksAuthCaller } from '../workers/eks-auth-caller.ts';
import { WorkerPool } from '../workers/pool.ts';
import { transportEnvironment } from '../workers/settings.ts';
import type { BrokerContext } from './context.ts';

/** What is needed to call EKS Auth: workers, the node's credentials, and the queue. */
export interface CallPath {
  readonly workers: WorkerPool;
  readonly credentials: NodeCredentialsKeeper;
  readonly caller: EksAuthCaller;
  readonly pace: CallPace;
  readonly queue: CallQueue;
}

/** Builds what is needed to call EKS Auth. */
export function callPath(context: BrokerContext): CallPath {
  const { config, environment, caBundle, clock, log, stops } = context;
  const workers = workerPool(context);
  stops.defer(() => workers.close());
  const credentials = new NodeCredentialsKeeper({
    clock,
    load: createCredentialsLoader({
      warn: (message) => log.debug({ message }, 'node credentials'),
      environment: transportEnvironment(environment),
      caBundle,
      connectTimeout: config.connectTimeout,
      clock,
    }),
    rotate: config.rotateCredentials,
    onReplaced: () => queue.credentialsReplaced(),
  });
  stops.defer(() => credentials.stop());
  const caller = new EksAuthCaller({
    workers,
    credentials,
    region: () => resolveRegion(environment, clock),
    onServiceTime: (time) => {
      if (!clock.sync(time)) return;
      log.warn({ aheadBySeconds: Math.round(clock.skew / 1_000) }, "the node's clock is off");
    },
  });
  const pace = new CallPace(clock, config.maxCallQps);
  const queue: CallQueue = new CallQueue(clock, pace, config.maxServiceQps);
  stops.defer(() => queue.stop());
  return { workers, credentials, caller, pace, queue };
}

function workerPool({
  config,
  environment,
  caBundle,
  version,
  clock,
  log,
  metrics,
}: BrokerContext): WorkerPool {
  return new WorkerPool({
    threads: config.workers,
    settings: {
      clusterName: config.clusterName,
      endpoint: config.endpoint?.href,
      fips: config.fips,
      connectTimeout: config.connectTimeout,
      attemptTimeout: config.attemptTimeout,
      userAgent: `pod-identity-broker/${version}`,
      environment: transportEnvironment(environment),
      caBundle,
    },
    clock,
    log,
    onReplaced: () => metrics.process.workersReplaced.inc(),
  });
}
