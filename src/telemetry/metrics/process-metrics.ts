import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Counter, Registry } from 'prom-client';
import type { DurationMs } from '../../clock.ts';
import { counter, readCounter, readGauge, readGauges, type Sample } from './declare.ts';

/** How often the event loop's delay is sampled. */
const LOOP_RESOLUTION: DurationMs = 20;
const NANOSECONDS = 1e9;

/** What is read about the process. */
export interface ProcessSources {
  readonly version: string;
  /** Lines that were given up because the log's reader stands still. */
  readonly logLinesDropped: () => number;
  readonly workerUtilization: () => number;
  readonly workerTasksWaiting: () => number;
}

/** The metrics of the process and its threads. */
export class ProcessMetrics {
  readonly #registry: Registry;
  readonly #loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION });
  readonly workersReplaced: Counter;
  readonly unexpectedErrors: Counter;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.#loop.enable();
    this.workersReplaced = counter(registry, {
      name: 'pod_identity_broker_worker_threads_replaced_total',
      help: 'Worker threads that died or hung and were replaced',
    });
    this.unexpectedErrors = counter(registry, {
      name: 'pod_identity_broker_unexpected_errors_total',
      help: 'Errors that should not happen; the log has each with its stack',
    });
    readGauges(
      registry,
      {
        name: 'pod_identity_broker_event_loop_delay_seconds',
        help: 'By how much the main thread was late since the last scrape, by percentile (100: the worst)',
        // `quantile` is for summaries alone, promtool says.
        labels: ['percentile'],
      },
      () => this.#loopDelay(),
    );
    observeProcess(registry);
  }

  /** Adds what is read whenever the metrics are. */
  observe({
    version,
    logLinesDropped,
    workerUtilization,
    workerTasksWaiting,
  }: ProcessSources): void {
    const registry = this.#registry;
    readGauges(
      registry,
      {
        name: 'pod_identity_broker_build_info',
        help: 'Always 1; the labels say which build runs',
        labels: ['version', 'node_version'],
      },
      () => [[{ version, node_version: process.version }, 1]],
    );
    readCounter(
      registry,
      {
        name: 'pod_identity_broker_log_lines_dropped_total',
        help: 'Log lines, audit lines among them, that were given up because the reader of the log stands still',
      },
      () => [[{}, logLinesDropped()]],
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_worker_utilization_ratio',
        help: "Share of the worker threads' capacity that tasks take, calls that wait for an answer included",
      },
      workerUtilization,
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_worker_tasks_waiting',
        help: 'Tasks that wait for a worker thread',
      },
      workerTasksWaiting,
    );
  }

  /** Samples nothing any more. */
  stop(): void {
    this.#loop.disable();
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
}

/** Names that prom-client's own process metrics have; they would cost more than is used here. */
function observeProcess(registry: Registry): void {
  readCounter(
    registry,
    {
      name: 'process_cpu_seconds_total',
      help: 'CPU time of the process with all its threads, user and system',
    },
    () => {
      const { user, system } = process.cpuUsage();
      return [[{}, (user + system) / 1e6]];
    },
  );
  readGauge(
    registry,
    { name: 'process_resident_memory_bytes', help: 'Resident memory of the process' },
    () => process.memoryUsage.rss(),
  );
  readGauge(
    registry,
    {
      name: 'nodejs_heap_size_used_bytes',
      help: 'Memory of JavaScript objects of the main thread',
    },
    () => process.memoryUsage().heapUsed,
  );
  const startedAt = Math.round(Date.now() / 1_000 - process.uptime());
  readGauge(
    registry,
    { name: 'process_start_time_seconds', help: 'When the process started, by the Unix epoch' },
    () => startedAt,
  );
}
