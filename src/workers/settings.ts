import { workerData } from 'node:worker_threads';
import type { DurationMs } from '../clock.ts';

/** What every worker thread is given when it starts (as worker data, so plain values only). */
export interface WorkerSettings {
  /** The cluster that calls are for. */
  readonly clusterName: string;
  /** EKS Auth, where it is not the region's own. */
  readonly endpoint: string | undefined;
  /** Call the region's FIPS endpoint. */
  readonly fips: boolean;
  /** Time to connect to EKS Auth. */
  readonly connectTimeout: DurationMs;
  /** Time for one attempt at a call, from its start to the last byte. */
  readonly attemptTimeout: DurationMs;
  /** Said of this program in each call. */
  readonly userAgent: string;
  /** The proxy variables of the broker's environment that outgoing calls follow. */
  readonly environment: Readonly<Record<string, string>>;
  /** Certificates (PEM) that outgoing calls trust instead of the system's roots. */
  readonly caBundle: string | undefined;
  /** Where the thread gives its signs of life. */
  readonly heartbeats: SharedArrayBuffer;
}

/** Variables that say how calls leave the node. */
const TRANSPORT_VARIABLES: readonly string[] = [
  'HTTPS_PROXY',
  'https_proxy',
  'HTTP_PROXY',
  'http_proxy',
  'NO_PROXY',
  'no_proxy',
];

/** Picks what {@link WorkerSettings.environment} holds out of a process environment. */
export function transportEnvironment(environment: NodeJS.ProcessEnv): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const name of TRANSPORT_VARIABLES) {
    const value = environment[name];
    if (value) picked[name] = value;
  }
  return picked;
}

/** The settings that this worker thread was started with. */
export function settings(): WorkerSettings {
  return workerData as WorkerSettings;
}
