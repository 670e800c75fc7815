import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, Registry } from 'prom-client';
import type { DurationMs } from '../clock.ts';
import { LatencyHistogram, registerLatency } from './latency-histogram.ts';
import { type RedisFigures, RedisMetrics } from './redis-metrics.ts';

// Every metric of the broker, with its labels and help text, is declared in this file and in
// redis-metrics.ts, and described in docs/metrics.md. No label is ever a pod's name; service accounts are named only
// where the operator asks for it: whoever reaches the node can read the metrics.

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
/** Upper bounds of calls to EKS Auth, up to `--attempt-timeout`. */
const CALL_BOUNDS: readonly DurationMs[] = [
  10, 25, 50, 100, 200, 350, 500, 750, 1_000, 2_000, 3_000, 5_000, 10_000, 30_000,
];
/** How often the event loop's delay is sampled. */
const LOOP_RESOLUTION: DurationMs = 20;
const NANOSECONDS = 1e9;
/** HTTP statuses are below this. */
const STATUSES = 600;
/** Service accounts that are named at most, where they are named at all. */
const MOST_SERVICE_ACCOUNTS = 500;

/** Sessions of one scope that hold credentials. */
export interface ScopeFigures {
  readonly scope: string;
  readonly sessions: number;
  /** Pods that were handed the credentials that these sessions hold now. */
  readonly pods: number;
}

/** What the sessions of one service account have done so far. */
export interface ServiceAccountFigures {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly sessions: number;
  readonly served: number;
}

/** What is read off the rooms whenever the metrics are. Undefined: there is no such figure now. */
export interface MetricSources {
  readonly version: string;
  readonly scopes: () => readonly ScopeFigures[];
  /** Until the first session that is asked for and can be renewed is served no more, in ms. */
  readonly soonestExpiry: () => DurationMs | undefined;
  /** EKS Auth denies every session. */
  readonly nodeDenied: () => boolean;
  /** Undefined: service accounts are not to be named. */
  readonly serviceAccounts: (() => readonly ServiceAccountFigures[]) | undefined;
  /** Calls to EKS Auth that wait for their turn, by priority. */
  readonly waitingCalls: () => Readonly<Record<string, number>>;
  readonly callsUnderWay: () => number;
  readonly paceMode: () => 'free' | 'throttled' | 'troubled';
  /** Calls a second; `Infinity` without a bound. */
  readonly paceRate: () => number;
  readonly workerUtilization: () => number;
  readonly workerTasksWaiting: () => number;
  readonly verifiedTokens: () => number;
  readonly verifiedTokensCapacity: number;
  /** By how much the node's clock is ahead of the service's, in ms. */
  readonly clockSkew: () => DurationMs;
  readonly keysUsable: () => boolean;
  readonly keysProven: () => boolean;
  readonly keysUnconfirmedFor: () => DurationMs | undefined;
  readonly nodeCredentialsUsable: () => boolean;
  /** Until the node's credentials expire; undefined where they do not. */
  readonly nodeCredentialsLeft: () => DurationMs | undefined;
  readonly addressesExpected: () => number;
  readonly addressesBound: () => number;
  readonly connections: () => number;
  /** Undefined: sessions are held in memory only. */
  readonly redis: () => RedisFigures | undefined;
}

/** What requests are found to be where pods are watched, as it is labelled. */
const POD_FINDINGS = ['not-on-node', 'not-live', 'wrong-address', 'unknown-address', 'unchecked'];

/** What is read off the watch of pods. */
export interface PodWatchFigures {
  readonly pods: () => number;
  readonly connected: () => boolean;
}

/** Labels with a value. */
type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** All metrics of one broker, in a registry of their own. */
export class Metrics {
  readonly registry = new Registry();
  /** Plain numbers for what happens on every request. */
  readonly #requests: Readonly<Record<RequestOutcome, LatencyHistogram>>;
  readonly #statuses = new Float64Array(STATUSES);
  readonly #calls = new LatencyHistogram(CALL_BOUNDS);
  readonly #loop: ReturnType<typeof monitorEventLoopDelay>;
  #evictions = 0;
  #callsSaved = 0;

  readonly localValidation: Counter<'result'>;
  readonly unverified: Counter<'cause'>;
  readonly connectionsRefused: Counter;
  readonly handOvers: Counter<'result'>;
  readonly workersReplaced: Counter;
  readonly unexpectedErrors: Counter;
  readonly redis: RedisMetrics;
  readonly #cacheErrors: Counter<'type' | 'code'>;
  readonly #callResults: Counter<'result'>;
  readonly #renewals: Counter<'result'>;

  constructor() {
    const registers = [this.registry];
    this.#requests = Object.fromEntries(
      OUTCOMES.map((outcome) => [outcome, new LatencyHistogram(REQUEST_BOUNDS)]),
    ) as Record<RequestOutcome, LatencyHistogram>;
    this.#loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION });
    this.#loop.enable();

    // The existing agent's names, labels and label values, so that its dashboards go on working.
    this.#counter(
      'pod_identity_http_response',
      'Answers to requests by HTTP status',
      ['code'],
      () =>
        [...this.#statuses.entries()]
          .filter(([, count]) => count > 0)
          .map(([status, count]) => [{ code: String(status) }, count]),
    );
    this.#counter(
      'pod_identity_cache_state',
      'Requests answered from a session that was there (hit), other requests with credentials (miss), sessions that made room for others (evicted)',
      ['state'],
      () => {
        const { hit, stale, joined, miss } = this.#requests;
        return [
          [{ state: 'hit' }, hit.count + stale.count],
          [{ state: 'miss' }, joined.count + miss.count],
          [{ state: 'evicted' }, this.#evictions],
        ];
      },
    );
    this.#cacheErrors = new Counter({
      name: 'pod_identity_cache_errors',
      help: 'Renewals that failed: the session is kept (Recoverable) or ended (NonRecoverable)',
      labelNames: ['type', 'code'],
      registers,
    });
    this.localValidation = new Counter({
      name: 'pod_identity_local_validation',
      help: 'Tokens judged on the node: verified (success), refused (failure), left to EKS Auth (skipped)',
      labelNames: ['result'],
      registers,
    });

    this.#counter(
      'pod_identity_broker_requests_total',
      'Requests by what became of them',
      ['outcome'],
      () => OUTCOMES.map((outcome) => [{ outcome }, this.#requests[outcome].count]),
    );
    registerLatency(
      this.registry,
      'pod_identity_broker_request_duration_seconds',
      'Time from the end of a request to its answer, by what became of it',
      OUTCOMES.map((outcome) => ({ labels: { outcome }, histogram: this.#requests[outcome] })),
    );
    this.#callResults = new Counter({
      name: 'pod_identity_broker_eks_auth_calls_total',
      help: 'Calls to EKS Auth by how they ended: ok, or the kind of failure',
      labelNames: ['result'],
      registers,
    });
    // From the first scrape on, so that rates see the first call too.
    for (const result of CALL_RESULTS) this.#callResults.inc({ result }, 0);
    registerLatency(
      this.registry,
      'pod_identity_broker_eks_auth_call_duration_seconds',
      'Time that a call to EKS Auth took, without its wait for its turn',
      [{ labels: {}, histogram: this.#calls }],
    );
    this.#counter(
      'pod_identity_broker_eks_auth_calls_saved_total',
      'Tokens that were given credentials that another token had fetched: each would have been a call in token scope',
      [],
      () => [[{}, this.#callsSaved]],
    );
    this.unverified = new Counter({
      name: 'pod_identity_broker_unverified_calls_total',
      help: 'Calls made in token scope because the token could not be verified on the node, by cause',
      labelNames: ['cause'],
      registers,
    });
    this.#renewals = new Counter({
      name: 'pod_identity_broker_renewals_total',
      help: 'Renewals of sessions by how they ended: ok, or the kind of failure',
      labelNames: ['result'],
      registers,
    });
    this.handOvers = new Counter({
      name: 'pod_identity_broker_handovers_total',
      help: 'Hand-overs between brokers on this node: taken, given, reclaimed (the successor ended), overdue (the predecessor still runs)',
      labelNames: ['result'],
      registers,
    });
    this.connectionsRefused = new Counter({
      name: 'pod_identity_broker_connections_refused_total',
      help: 'Connections closed because their address, or the node, had too many',
      registers,
    });
    this.workersReplaced = new Counter({
      name: 'pod_identity_broker_worker_threads_replaced_total',
      help: 'Worker threads that died or hung and were replaced',
      registers,
    });
    this.unexpectedErrors = new Counter({
      name: 'pod_identity_broker_unexpected_errors_total',
      help: 'Errors that should not happen; the log has each with its stack',
      registers,
    });
    this.redis = new RedisMetrics(this.registry);
    this.#gauge(
      'pod_identity_broker_event_loop_delay_seconds',
      'By how much the main thread was late since the last scrape, by percentile (100: the worst)',
      ['percentile'],
      () => this.#loopDelay(),
    );
    this.#observeProcess();
  }

  /** Adds what is read off the rooms whenever the metrics are. */
  observe(sources: MetricSources): void {
    this.#gauge(
      'pod_identity_broker_build_info',
      'Always 1; the labels say which build runs',
      ['version', 'node_version'],
      () => [[{ version: sources.version, node_version: process.version }, 1]],
    );
    this.#gauge(
      'pod_identity_broker_sessions',
      'Role sessions that hold credentials, by scope',
      ['scope'],
      () => sources.scopes().map(({ scope, sessions }) => [{ scope }, sessions]),
    );
    this.#gauge(
      'pod_identity_broker_pods',
      'Pods that were handed the credentials that sessions hold now, by scope of the session',
      ['scope'],
      () => sources.scopes().map(({ scope, pods }) => [{ scope }, pods]),
    );
    this.#one(
      'pod_identity_broker_soonest_expiry_seconds',
      'Until the first session that pods still ask for can be served no more; absent where there is none',
      () => seconds(sources.soonestExpiry()),
    );
    this.#one(
      'pod_identity_broker_node_denied',
      '1 while EKS Auth denies every renewal: the role of the node may not ask',
      () => Number(sources.nodeDenied()),
    );
    this.#gauge(
      'pod_identity_broker_waiting_calls',
      'Calls to EKS Auth that wait for their turn, by priority',
      ['priority'],
      () =>
        Object.entries(sources.waitingCalls()).map(([priority, count]) => [{ priority }, count]),
    );
    this.#one(
      'pod_identity_broker_calls_under_way',
      'Calls to EKS Auth that are under way',
      sources.callsUnderWay,
    );
    this.#gauge(
      'pod_identity_broker_call_pace_mode',
      '1 for what decides the pace of calls now: free (no bound), throttled or troubled by EKS Auth',
      ['mode'],
      () => {
        const now = sources.paceMode();
        return (['free', 'throttled', 'troubled'] as const).map((mode) => [
          { mode },
          Number(mode === now),
        ]);
      },
    );
    this.#one(
      'pod_identity_broker_call_pace_rate',
      'Calls to EKS Auth that may be started a second now; +Inf without a bound',
      sources.paceRate,
    );
    this.#one(
      'pod_identity_broker_worker_utilization_ratio',
      "Share of the worker threads' capacity that tasks take, calls that wait for an answer included",
      sources.workerUtilization,
    );
    this.#one(
      'pod_identity_broker_worker_tasks_waiting',
      'Tasks that wait for a worker thread',
      sources.workerTasksWaiting,
    );
    this.#one(
      'pod_identity_broker_verified_tokens',
      'Verified tokens remembered',
      sources.verifiedTokens,
    );
    this.#one(
      'pod_identity_broker_verified_tokens_capacity',
      'Verified tokens that can be remembered at once (--max-verified-tokens)',
      () => sources.verifiedTokensCapacity,
    );
    this.#one(
      'pod_identity_broker_node_clock_ahead_seconds',
      'By how much the clock of the node is ahead of the clock of EKS Auth, where that was found to matter',
      () => seconds(sources.clockSkew()),
    );
    this.#one(
      'pod_identity_broker_keys_usable',
      '1 while there are keys of the token issuer to verify under',
      () => Number(sources.keysUsable()),
    );
    this.#one(
      'pod_identity_broker_keys_proven',
      '1 once a token has verified under these keys, so that what does not verify is refused',
      () => Number(sources.keysProven()),
    );
    this.#one(
      'pod_identity_broker_keys_unconfirmed_seconds',
      'Since a source last confirmed the keys; absent while there are none',
      () => seconds(sources.keysUnconfirmedFor()),
    );
    this.#one(
      'pod_identity_broker_node_credentials_usable',
      '1 while the node has AWS credentials to call EKS Auth with',
      () => Number(sources.nodeCredentialsUsable()),
    );
    this.#one(
      'pod_identity_broker_node_credentials_expiry_seconds',
      'Until the AWS credentials of the node expire; absent where they do not',
      () => seconds(sources.nodeCredentialsLeft()),
    );
    this.#one(
      'pod_identity_broker_addresses_expected',
      'Addresses that pods are to be answered on',
      sources.addressesExpected,
    );
    this.#one(
      'pod_identity_broker_addresses_bound',
      'Addresses that pods are answered on: listened on, and still on an interface of the node',
      sources.addressesBound,
    );
    this.#one(
      'pod_identity_broker_connections',
      'Connections of pods that are open',
      sources.connections,
    );
    this.redis.observe(sources.redis);
    const { serviceAccounts } = sources;
    if (serviceAccounts !== undefined) this.#observeServiceAccounts(serviceAccounts);
  }

  /** Adds what there is where pods are watched. */
  observePods(figures: PodWatchFigures): {
    readonly finding: (finding: string) => void;
    readonly lookup: (result: string) => void;
    readonly listed: () => void;
  } {
    const registers = [this.registry];
    const findings = new Counter({
      name: 'pod_identity_broker_pod_findings_total',
      help: 'Requests that were not from a live pod of this node at its own address (refused with --watch-pods=enforce), or whose pod could not be checked, by what was found',
      labelNames: ['finding'],
      registers,
    });
    for (const finding of POD_FINDINGS) findings.inc({ finding }, 0);
    const lookups = new Counter({
      name: 'pod_identity_broker_pod_lookups_total',
      help: 'Pods asked for at the API server because the watch had not told of them: there (pod), not there (absent), no answer (away)',
      labelNames: ['result'],
      registers,
    });
    for (const result of ['pod', 'absent', 'away']) lookups.inc({ result }, 0);
    const lists = new Counter({
      name: 'pod_identity_broker_pod_lists_total',
      help: 'Times that the pods of the node were listed: once, and when a watch could not be resumed',
      registers,
    });
    this.#one(
      'pod_identity_broker_watched_pods',
      'Pods of the node that are known, those that have ended included',
      figures.pods,
    );
    this.#one(
      'pod_identity_broker_pod_watch_connected',
      '1 while the pods of the node are watched; 0 while the broker goes by what it knew',
      () => Number(figures.connected()),
    );
    return {
      finding: (finding) => findings.inc({ finding }),
      lookup: (result) => lookups.inc({ result }),
      listed: () => lists.inc(),
    };
  }

  /** Counts a request: its status, what became of it, and how long it took. */
  answered(status: number, outcome: RequestOutcome, duration: DurationMs): void {
    this.#statuses[status] = (this.#statuses[status] ?? 0) + 1;
    this.#requests[outcome].observe(duration);
  }

  /** Counts a call to EKS Auth; without a failure it was granted. */
  called(failure: { readonly kind: string } | undefined, duration: DurationMs): void {
    this.#callResults.inc({ result: failure?.kind ?? 'ok' });
    this.#calls.observe(duration);
  }

  /** Counts a call that was not needed. */
  callSaved(): void {
    this.#callsSaved += 1;
  }

  /** Counts a session that made room for another. */
  evicted(): void {
    this.#evictions += 1;
  }

  /** Counts a renewal. */
  renewed(renewal: {
    readonly ok: boolean;
    readonly failure?: { kind: string; code: string };
  }): void {
    this.#renewals.inc({ result: renewal.failure?.kind ?? 'ok' });
    if (renewal.failure === undefined) return;
    const type = renewal.failure.kind === 'refused' ? 'NonRecoverable' : 'Recoverable';
    this.#cacheErrors.inc({ type, code: renewal.failure.code });
  }

  /** Samples nothing any more. */
  stop(): void {
    this.#loop.disable();
  }

  /** Names that prom-client's own process metrics have; they would cost more than is used here. */
  #observeProcess(): void {
    this.#counter(
      'process_cpu_seconds_total',
      'CPU time of the process with all its threads, user and system',
      [],
      () => {
        const { user, system } = process.cpuUsage();
        return [[{}, (user + system) / 1e6]];
      },
    );
    this.#one('process_resident_memory_bytes', 'Resident memory of the process', () =>
      process.memoryUsage.rss(),
    );
    this.#one(
      'nodejs_heap_size_used_bytes',
      'Memory of JavaScript objects of the main thread',
      () => process.memoryUsage().heapUsed,
    );
    const startedAt = Math.round(Date.now() / 1_000 - process.uptime());
    this.#one(
      'process_start_time_seconds',
      'When the process started, by the Unix epoch',
      () => startedAt,
    );
  }

  #observeServiceAccounts(read: () => readonly ServiceAccountFigures[]): void {
    const most = () =>
      [...read()].sort((a, b) => b.served - a.served).slice(0, MOST_SERVICE_ACCOUNTS);
    const labels = ['namespace', 'service_account'];
    const labelled = ({ namespace, serviceAccount }: ServiceAccountFigures) => ({
      namespace,
      service_account: serviceAccount,
    });
    this.#gauge(
      'pod_identity_broker_service_account_sessions',
      'Role sessions that hold credentials, by service account (with --metrics-service-accounts)',
      labels,
      () => most().map((figures) => [labelled(figures), figures.sessions]),
    );
    this.#gauge(
      'pod_identity_broker_service_account_served',
      'Answers with credentials of the sessions held now, by service account (with --metrics-service-accounts)',
      labels,
      () => most().map((figures) => [labelled(figures), figures.served]),
    );
  }

  #loopDelay(): Sample[] {
    const loop = this.#loop;
    const samples = [50, 99, 100].map((percentile): Sample => {
      const delay = loop.count === 0 ? 0 : loop.percentile(percentile) / NANOSECONDS;
      return [{ percentile: String(percentile) }, Math.max(0, delay - LOOP_RESOLUTION / 1_000)];
    });
    loop.reset();
    return samples;
  }

  /** A counter whose values are read when the metrics are. */
  #counter(name: string, help: string, labelNames: string[], read: () => readonly Sample[]): void {
    new Counter({
      name,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [labels, value] of read()) this.inc(labels, value);
      },
    });
  }

  /** A gauge whose values are read when the metrics are. */
  #gauge(name: string, help: string, labelNames: string[], read: () => readonly Sample[]): void {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [labels, value] of read()) this.set(labels, value);
      },
    });
  }

  /** A gauge without labels; undefined where there is no such figure now. */
  #one(name: string, help: string, read: () => number | undefined): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        const value = read();
        if (value === undefined) this.remove();
        else this.set(value);
      },
    });
  }
}

/** How calls to EKS Auth end, as they are labelled. */
const CALL_RESULTS = [
  ...['ok', 'throttled', 'service', 'network', 'node-credentials', 'refused', 'token'],
  ...['request', 'malformed', 'mismatch'],
];

function seconds(milliseconds: DurationMs | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1_000;
}
