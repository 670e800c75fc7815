import type { Metric, Registry } from 'prom-client';
import type { DurationMs } from '../clock.ts';

/**
 * Durations counted in buckets by plain numbers: an observation costs a few comparisons and
 * allocates nothing. It becomes a metric when the metrics are read.
 */
export class LatencyHistogram {
  /** Upper bounds of the buckets, ascending. */
  readonly #bounds: readonly DurationMs[];
  /** Observations a bucket; the last is for those beyond all bounds. */
  readonly #counts: Float64Array;
  #sum = 0;

  /** @param bounds - Upper bounds of the buckets in milliseconds, ascending. */
  constructor(bounds: readonly DurationMs[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(duration: DurationMs): void {
    let bucket = 0;
    while (duration > (this.#bounds[bucket] as number)) bucket += 1;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sum += duration;
  }

  /** Observations so far. */
  get count(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** Sum of all observations, in seconds. */
  get seconds(): number {
    return this.#sum / 1_000;
  }

  /** Observations up to each bound, which is given in seconds as Prometheus writes it. */
  cumulative(): { readonly le: string; readonly count: number }[] {
    let count = 0;
    return [...this.#counts].map((own, bucket) => {
      const bound = this.#bounds[bucket];
      count += own;
      return { le: bound === undefined ? '+Inf' : String(bound / 1_000), count };
    });
  }
}

/** One series of a histogram: its labels and what was counted. */
export interface LatencySeries {
  readonly labels: Readonly<Record<string, string>>;
  readonly histogram: LatencyHistogram;
}

/**
 * Exposes latency histograms as one Prometheus histogram. prom-client's own is fed with one
 * call an observation, which is what must not be on the way of every request.
 */
export function registerLatency(
  registry: Registry,
  name: string,
  help: string,
  series: readonly LatencySeries[],
): void {
  const metric = {
    name,
    help,
    type: 'histogram',
    get: () =>
      Promise.resolve({
        name,
        help,
        type: 'histogram',
        values: series.flatMap(({ labels, histogram }) => [
          ...histogram.cumulative().map(({ le, count }) => ({
            metricName: `${name}_bucket`,
            labels: { ...labels, le },
            value: count,
          })),
          { metricName: `${name}_sum`, labels, value: histogram.seconds },
          { metricName: `${name}_count`, labels, value: histogram.count },
        ]),
      }),
  };
  // The registry asks a metric for no more than this.
  registry.registerMetric(metric as unknown as Metric);
}
