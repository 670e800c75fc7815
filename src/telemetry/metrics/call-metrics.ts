import type { Counter, Registry } from 'prom-client';
import type { DurationMs } from '../../clock.ts';
import { LatencyHistogram, registerLatency } from '../latency-histogram.ts';
import { counter, readGauge, readGauges } from './declare.ts';

/** Upper bounds of calls to EKS Auth, up to `--attempt-timeout`. */
const CALL_BOUNDS: readonly DurationMs[] = [
  10, 25, 50, 100, 200, 350, 500, 750, 1_000, 2_000, 3_000, 5_000, 10_000, 30_000,
];
/** How calls to EKS Auth end, as they are labelled. */
const CALL_RESULTS = [
  ...['ok', 'throttled', 'service', 'network', 'node-credentials', 'refused', 'token'],
  ...['request', 'malformed', 'mismatch'],
];
/** Why a token could not be verified, as it is labelled. */
const UNPROVEN_CAUSES = ['no-keys', 'unknown-key', 'other-issuer', 'bad-signature'] as const;
/** What decides the pace of calls, as it is labelled. */
const PACE_MODES = ['unlimited', 'throttled', 'failing', 'recovering'] as const;

/** What is read off the queue of calls and their pace. */
export interface CallSources {
  /** Calls to EKS Auth that wait for their turn, by priority. */
  readonly waitingCalls: () => Readonly<Record<string, number>>;
  readonly callsUnderWay: () => number;
  readonly paceMode: () => (typeof PACE_MODES)[number];
  /** Calls a second; `Infinity` without a bound. */
  readonly paceRate: () => number;
}

/** The metrics of calls to EKS Auth. */
export class CallMetrics {
  readonly #registry: Registry;
  readonly #durations = new LatencyHistogram(CALL_BOUNDS);
  readonly #results: Counter<'result'>;
  /** By {@link UNPROVEN_CAUSES}. */
  readonly unverified: Counter<'cause'>;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.#results = counter(registry, {
      name: 'pod_identity_broker_eks_auth_calls_total',
      help: 'Calls to EKS Auth by how they ended: ok, or the kind of failure',
      labels: ['result'],
    });
    // From the first scrape on, so that rates see the first call too.
    for (const result of CALL_RESULTS) this.#results.inc({ result }, 0);
    registerLatency(
      registry,
      'pod_identity_broker_eks_auth_call_duration_seconds',
      'Time that a call to EKS Auth took, without its wait for its turn',
      [{ labels: {}, histogram: this.#durations }],
    );
    this.unverified = counter(registry, {
      name: 'pod_identity_broker_unverified_calls_total',
      help: 'Calls made in token scope because the token could not be verified on the node, by cause',
      labels: ['cause'],
    });
    for (const cause of UNPROVEN_CAUSES) this.unverified.inc({ cause }, 0);
  }

  /** Counts a call to EKS Auth; without a failure it was granted. */
  called(failure: { readonly kind: string } | undefined, duration: DurationMs): void {
    this.#results.inc({ result: failure?.kind ?? 'ok' });
    this.#durations.observe(duration);
  }

  /** Adds what is read whenever the metrics are. */
  observe({ waitingCalls, callsUnderWay, paceMode, paceRate }: CallSources): void {
    const registry = this.#registry;
    readGauges(
      registry,
      {
        name: 'pod_identity_broker_waiting_calls',
        help: 'Calls to EKS Auth that wait for their turn, by priority',
        labels: ['priority'],
      },
      () => Object.entries(waitingCalls()).map(([priority, count]) => [{ priority }, count]),
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_calls_under_way',
        help: 'Calls to EKS Auth that are under way',
      },
      callsUnderWay,
    );
    readGauges(
      registry,
      {
        name: 'pod_identity_broker_call_pace_mode',
        help: '1 for what decides the pace of calls now: unlimited, throttled (EKS Auth throttles), failing (it gives no usable answer) or recovering (it answers again)',
        labels: ['mode'],
      },
      () => {
        const now = paceMode();
        return PACE_MODES.map((mode) => [{ mode }, Number(mode === now)]);
      },
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_call_pace_rate',
        help: 'Calls to EKS Auth that may be started a second now; +Inf without a bound',
      },
      paceRate,
    );
  }
}
