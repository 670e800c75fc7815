import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { collectTracesTo } from '../../src/simulator/traces/collect-traces.ts';
import { writeTracePage } from '../../src/traces/page.ts';

/** What a page can hold in memory while it is made. */
const MAX_SPANS = 250_000;

/** Traces of all brokers of a run, while they are collected. */
export interface Tracing {
  /**
   * What a broker's environment needs for its traces to come here.
   *
   * @param sampling - `all` of them, or as many as the broker records by `default`.
   */
  environment(sampling: 'all' | 'default'): Readonly<Record<string, string>>;
}

/** What has become of the traces of a run. */
export interface TracePage {
  readonly page: string;
  /** The same as OTLP, which `traces FILE` reads. */
  readonly file: string;
  readonly traces: number;
  readonly spans: number;
  /** Spans that were beyond the bound, and are not in the page. */
  readonly dropped: number;
}

/** Tracing that has been begun. */
export interface CollectedTracing extends Tracing {
  /** Writes the page; once all brokers have ended, with which the last of the spans come. */
  finish(): Promise<TracePage>;
  /** Stops receiving, without a page. */
  close(): Promise<void>;
}

/**
 * Begins to collect the traces of brokers, by a receiver in this process.
 *
 * @param directory - Where `trace.html` and `trace.jsonl` go.
 */
export async function startTracing(directory: string): Promise<CollectedTracing> {
  mkdirSync(directory, { recursive: true });
  const [page, file] = [join(directory, 'trace.html'), join(directory, 'trace.jsonl')];
  const collecting = await collectTracesTo(file, { spans: MAX_SPANS });
  const { OTEL_TRACES_SAMPLER: sampler = '', ...others } = collecting.environment;
  return {
    environment: (sampling) =>
      sampling === 'all' ? { ...others, OTEL_TRACES_SAMPLER: sampler } : others,
    close: () => collecting.close(),
    async finish() {
      await collecting.close();
      const title = 'Traces of a benchmark run';
      const { traces, spans } = await writeTracePage(file, page, { title });
      return { page, file, traces, spans, dropped: collecting.receiver.dropped };
    },
  };
}
