import type { Findings } from './findings.ts';

/** By how much the broker's main thread was late, in milliseconds. */
export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly worst: number;
}

type Metrics = ReadonlyMap<string, number>;

/** What the broker itself says has gone wrong. */
export function checkMetrics(metrics: Metrics, findings: Findings): void {
  for (const what of ['unexpected_errors', 'worker_threads_replaced']) {
    const name = `pod_identity_broker_${what}_total`;
    const value = metrics.get(name);
    if (value !== 0) findings.add(`${name} is ${value}`);
  }
}

/** The delay of the event loop since the metrics were last read, which is the whole run. */
export function loopDelayOf(metrics: Metrics): LoopDelay {
  const percentile = (part: number) =>
    1_000 *
    (metrics.get(`pod_identity_broker_event_loop_delay_seconds{percentile="${part}"}`) ??
      Number.NaN);
  return { p50: percentile(50), p99: percentile(99), worst: percentile(100) };
}

/** A metric summed over its labels. */
export function sumOf(metrics: Metrics, name: string): number {
  let sum = 0;
  for (const [key, value] of metrics) if (key === name || key.startsWith(`${name}{`)) sum += value;
  return sum;
}
