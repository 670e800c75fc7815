import { Counter, Gauge, Registry } from 'prom-client';

/** What the broker counts. Every name, label and help text of its metrics stands in this file. */
export interface MetricSources {
  /** Sessions held. */
  readonly sessions: () => number;
  /** Verified tokens remembered. */
  readonly verifiedTokens: () => number;
  /** Calls to EKS Auth that wait for their turn. */
  readonly waitingCalls: () => number;
}

/** Plain numbers for what happens on every request: they become metrics when these are read. */
export interface HotCounts {
  /** Answers by HTTP status. */
  readonly answers: Map<number, number>;
  hits: number;
  joined: number;
  misses: number;
}

/** All metrics of one broker, in a registry of their own. */
export class Metrics {
  readonly registry = new Registry();
  readonly hot: HotCounts = { answers: new Map(), hits: 0, joined: 0, misses: 0 };
  readonly evictions = { count: 0 };
  readonly localValidation: Counter<'result'>;
  readonly cacheErrors: Counter<'type' | 'code'>;
  readonly calls: Counter<'result'>;
  readonly unverified: Counter<'cause'>;
  readonly connectionsRefused: Counter;
  readonly workersReplaced: Counter;
  readonly unexpectedErrors: Counter;

  constructor() {
    const { registry, hot, evictions } = this;
    const registers = [registry];
    // The existing agent's names, labels and label values, so that its dashboards go on working.
    new Counter({
      name: 'pod_identity_http_response',
      help: 'Answers to requests by HTTP status',
      labelNames: ['code'],
      registers,
      collect() {
        this.reset();
        for (const [code, count] of hot.answers) this.inc({ code: String(code) }, count);
      },
    });
    new Counter({
      name: 'pod_identity_cache_state',
      help: 'Requests answered from a session that was there (hit), other requests with credentials (miss), sessions that made room for others (evicted)',
      labelNames: ['state'],
      registers,
      collect() {
        this.reset();
        this.inc({ state: 'hit' }, hot.hits);
        this.inc({ state: 'miss' }, hot.joined + hot.misses);
        this.inc({ state: 'evicted' }, evictions.count);
      },
    });
    this.cacheErrors = new Counter({
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
    this.calls = new Counter({
      name: 'pod_identity_broker_eks_auth_calls_total',
      help: 'Calls to EKS Auth by how they ended: ok, or the kind of failure',
      labelNames: ['result'],
      registers,
    });
    this.unverified = new Counter({
      name: 'pod_identity_broker_unverified_calls_total',
      help: 'Calls made in token scope because the token could not be verified on the node, by cause',
      labelNames: ['cause'],
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
  }

  /** Adds what is read off the rooms whenever the metrics are. */
  observe(sources: MetricSources): void {
    const registers = [this.registry];
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    gauge('pod_identity_broker_sessions', 'Role sessions held', sources.sessions);
    gauge(
      'pod_identity_broker_verified_tokens',
      'Verified tokens remembered',
      sources.verifiedTokens,
    );
    gauge(
      'pod_identity_broker_waiting_calls',
      'Calls to EKS Auth that wait for their turn',
      sources.waitingCalls,
    );
  }

  /** Counts a session that made room for another. */
  evicted(): void {
    this.evictions.count += 1;
  }

  /** Counts a renewal. */
  renewed(renewal: {
    readonly ok: boolean;
    readonly failure?: { kind: string; code: string };
  }): void {
    if (renewal.failure === undefined) return;
    const type = renewal.failure.kind === 'refused' ? 'NonRecoverable' : 'Recoverable';
    this.cacheErrors.inc({ type, code: renewal.failure.code });
  }

  /** Counts an answer. */
  answered(status: number): void {
    const { answers } = this.hot;
    answers.set(status, (answers.get(status) ?? 0) + 1);
  }
}
