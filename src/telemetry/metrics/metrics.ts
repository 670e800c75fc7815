import { Registry } from 'prom-client';
import { CallMetrics, type CallSources } from './call-metrics.ts';
import { NodeMetrics, type NodeSources } from './node-metrics.ts';
import { PodMetrics, type PodSources } from './pod-metrics.ts';
import { ProcessMetrics, type ProcessSources } from './process-metrics.ts';
import { type RedisFigures, RedisMetrics } from './redis-metrics.ts';
import { RequestMetrics } from './request-metrics.ts';
import { SessionMetrics, type SessionSources } from './session-metrics.ts';
import { TokenMetrics, type TokenSources } from './token-metrics.ts';

// Every metric of the broker, with its labels and help text, is declared in this folder and
// described in docs/metrics.md; names without `_broker_` are the existing agent's. No label is
// ever a pod's name, and service accounts are named only where the operator asks for it: whoever
// reaches the node can read the metrics.

/** What is read off the components whenever the metrics are; undefined: no such figure now. */
export interface MetricSources
  extends CallSources,
    NodeSources,
    ProcessSources,
    SessionSources,
    TokenSources {
  /** Undefined: sessions are held in memory only. */
  readonly redis: () => RedisFigures | undefined;
}

/** All metrics of one broker, in a registry of their own. */
export class Metrics {
  readonly registry = new Registry();
  readonly calls = new CallMetrics(this.registry);
  readonly node = new NodeMetrics(this.registry);
  readonly process = new ProcessMetrics(this.registry);
  readonly redis = new RedisMetrics(this.registry);
  readonly sessions = new SessionMetrics(this.registry);
  readonly requests = new RequestMetrics(this.registry, () => this.sessions.evictions);
  readonly tokens = new TokenMetrics(this.registry);

  /** Adds what is read off the components whenever the metrics are. */
  observe(sources: MetricSources): void {
    this.calls.observe(sources);
    this.node.observe(sources);
    this.process.observe(sources);
    this.redis.observe(sources.redis);
    this.sessions.observe(sources);
    this.tokens.observe(sources);
  }

  /** Adds what there is where pods are watched. */
  observePods(sources: PodSources): PodMetrics {
    return new PodMetrics(this.registry, sources);
  }

  /** Samples nothing any more. */
  stop(): void {
    this.process.stop();
  }
}
