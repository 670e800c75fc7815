import type { Counter, Registry } from 'prom-client';
import type { DurationMs } from '../../clock.ts';
import { LatencyHistogram, registerLatency } from '../latency-histogram.ts';
import { counter, readCounter } from './declare.ts';

/** What became of a request. */
export const OUTCOMES = [
  /** Credentials from a session that was there. */
  'hit',
  /** The same, while the session's renewal fails. */
  'stale',
  /** Credentials, after waiting for a fetch that another request had begun. */
  'joined',
  /** Credentials, by a fetch of its own. */
  'miss',
  /** The broker does not accept the token: 400. */
  'bad-token',
  /** The token is not presented by its pod, or that is gone: 403. */
  'wrong-pod',
  /** EKS Auth refuses the pod: 4xx. */
  'refused',
  /** EKS Auth, or the way to it, fails: 503. */
  'failed',
  /** Credentials were not there within the wait: 503. */
  'pending',
  /** Its address asks too often: 429. */
  'limited',
  /** Not a request for credentials: 400, 403, 404, 405, 408, 431. */
  'invalid',
  /** A defect of the broker: 500. */
  'error',
] as const;
export type RequestOutcome = (typeof OUTCOMES)[number];

/** Upper bounds of request durations: a hit takes microseconds, a fetch up to `--client-wait`. */
const REQUEST_BOUNDS: readonly DurationMs[] = [
  0.1, 0.25, 1, 5, 25, 50, 100, 250, 500, 1_000, 2_000, 5_000,
];
/** HTTP statuses are below this. */
const STATUSES = 600;

/** The metrics of requests: plain numbers, because every hit counts here. */
export class RequestMetrics {
  readonly #outcomes: Readonly<Record<RequestOutcome, LatencyHistogram>>;
  readonly #statuses = new Float64Array(STATUSES);
  readonly connectionsRefused: Counter;

  /** @param evictions - Sessions that made room for others, for the inherited metric of both. */
  constructor(registry: Registry, evictions: () => number) {
    const outcomes = Object.fromEntries(
      OUTCOMES.map((outcome) => [outcome, new LatencyHistogram(REQUEST_BOUNDS)]),
    ) as Record<RequestOutcome, LatencyHistogram>;
    this.#outcomes = outcomes;

    readCounter(
      registry,
      {
        name: 'pod_identity_http_response',
        help: 'Answers to requests by HTTP status',
        labels: ['code'],
      },
      () =>
        [...this.#statuses.entries()]
          .filter(([, count]) => count > 0)
          .map(([status, count]) => [{ code: String(status) }, count]),
    );
    readCounter(
      registry,
      {
        name: 'pod_identity_cache_state',
        help: 'Requests answered from a session that was there (hit), other requests with credentials (miss), sessions that made room for others (evicted)',
        labels: ['state'],
      },
      () => [
        [{ state: 'hit' }, outcomes.hit.count + outcomes.stale.count],
        [{ state: 'miss' }, outcomes.joined.count + outcomes.miss.count],
        [{ state: 'evicted' }, evictions()],
      ],
    );
    readCounter(
      registry,
      {
        name: 'pod_identity_broker_requests_total',
        help: 'Requests by what became of them',
        labels: ['outcome'],
      },
      () => OUTCOMES.map((outcome) => [{ outcome }, outcomes[outcome].count]),
    );
    registerLatency(
      registry,
      'pod_identity_broker_request_duration_seconds',
      'Time from the end of a request to its answer, by what became of it',
      OUTCOMES.map((outcome) => ({ labels: { outcome }, histogram: outcomes[outcome] })),
    );
    this.connectionsRefused = counter(registry, {
      name: 'pod_identity_broker_connections_refused_total',
      help: 'Connections closed because their address, or the node, had too many',
    });
  }

  /** Counts a request: its status, what became of it, and how long it took. */
  answered(status: number, outcome: RequestOutcome, duration: DurationMs): void {
    this.#statuses[status] = (this.#statuses[status] ?? 0) + 1;
    this.#outcomes[outcome].observe(duration);
  }
}
