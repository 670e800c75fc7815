import { setTimeout as pause } from 'node:timers/promises';
import { type DurationMs, ServiceClock, systemClock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { Log } from '../telemetry/log.ts';
import { Metrics } from '../telemetry/metrics/metrics.ts';
import { RepeatedFaults } from '../telemetry/repeated-faults.ts';
import { collectTraces } from '../telemetry/trace-collection.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { version } from '../version.ts';

/** How long pending spans may take to be sent when the broker stops. */
const FLUSH_TIMEOUT: DurationMs = 2_000;

/** What every part of the broker is built on. */
export interface Foundation {
  readonly config: Config;
  /** For AWS's own variables, proxies and the way to the API server. */
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Log;
  /** Lines that were given up because the log's reader stands still. */
  readonly logLinesDropped: () => number;
  /** Ends a start that waits for a port. */
  readonly signal: AbortSignal;
  readonly version: string;
  readonly clock: ServiceClock;
  readonly metrics: Metrics;
  /** Undefined: nobody collects traces. */
  readonly tracing: Tracing | undefined;
  readonly faults: RepeatedFaults;
  /** What ends with the broker, the last to be added first. */
  readonly stops: AsyncDisposableStack;
}

/** What the caller of the broker gives it. */
export type Given = Pick<
  Foundation,
  'config' | 'environment' | 'log' | 'logLinesDropped' | 'signal' | 'stops'
>;

/**
 * Clock, metrics and traces.
 *
 * @throws TraceConfigError naming the variable that cannot be used.
 */
export async function layFoundation(given: Given): Promise<Foundation> {
  const { config, environment, log, stops } = given;
  const clock = new ServiceClock(systemClock);
  const traces = await collectTraces(environment, version(), log, config.trustTraceparent);
  // A collector that does not answer must not hold the process up.
  stops.defer(() =>
    Promise.race([traces?.shutdown(), pause(FLUSH_TIMEOUT, undefined, { ref: false })]),
  );
  const metrics = new Metrics();
  stops.defer(() => metrics.stop());
  const faults = new RepeatedFaults(clock, log);
  stops.defer(() => faults.stop());
  return {
    ...given,
    version: version(),
    clock,
    metrics,
    tracing: traces?.tracing,
    faults,
  };
}
