import { setTimeout as pause } from 'node:timers/promises';
import { type DurationMs, ServiceClock, systemClock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { readCaBundle } from '../http/ca-bundle.ts';
import type { Log } from '../telemetry/log.ts';
import { Metrics } from '../telemetry/metrics/metrics.ts';
import { RepeatedFaults } from '../telemetry/repeated-faults.ts';
import { collectTraces } from '../telemetry/trace-collection.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { version } from '../version.ts';

/** How long sending pending spans may take when the broker stops. */
const FLUSH_TIMEOUT: DurationMs = 2_000;

/** What all components of the broker share. */
export interface BrokerContext {
  readonly config: Config;
  /** For AWS's own variables, proxies and access to the API server. */
  readonly environment: NodeJS.ProcessEnv;
  /** The certificates of `AWS_CA_BUNDLE` (PEM). */
  readonly caBundle: string | undefined;
  readonly log: Log;
  /** Lines that were dropped because nobody reads the log. */
  readonly logLinesDropped: () => number;
  /** Aborts a start that waits for a port. */
  readonly signal: AbortSignal;
  readonly version: string;
  readonly clock: ServiceClock;
  readonly metrics: Metrics;
  /** Undefined: traces are not collected. */
  readonly tracing: Tracing | undefined;
  readonly faults: RepeatedFaults;
  /** What is stopped with the broker, in reverse order. */
  readonly stops: AsyncDisposableStack;
}

/** Input of {@link startBroker}. */
export type BrokerInput = Pick<
  BrokerContext,
  'config' | 'environment' | 'log' | 'logLinesDropped' | 'signal' | 'stops'
>;

/**
 * Creates clock, metrics and traces.
 *
 * @throws CaBundleError, TraceConfigError naming the variable that cannot be used.
 */
export async function createContext(input: BrokerInput): Promise<BrokerContext> {
  const { config, environment, log, stops } = input;
  // Every call would fail without it, so the broker does not start.
  const caBundle = await readCaBundle(environment);
  const clock = new ServiceClock(systemClock);
  const traces = await collectTraces(environment, version(), log, config.trustTraceparent);
  // A collector that does not answer must not keep the process from ending.
  stops.defer(() =>
    Promise.race([traces?.shutdown(), pause(FLUSH_TIMEOUT, undefined, { ref: false })]),
  );
  const metrics = new Metrics();
  stops.defer(() => metrics.stop());
  const faults = new RepeatedFaults(clock, log);
  stops.defer(() => faults.stop());
  return {
    ...input,
    caBundle,
    version: version(),
    clock,
    metrics,
    tracing: traces?.tracing,
    faults,
  };
}
