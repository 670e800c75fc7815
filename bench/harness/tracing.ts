import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { collectTracesTo } from '../../src/simulator/traces/collect-traces.ts';
import { writeTracePage } from '../../src/traces/page.ts';
import { scratchDirectory } from './scratch.ts';

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
  /**
   * Writes `trace.html` and `trace.jsonl`; once all brokers have ended, with which the last of the
   * spans come.
   *
   * @param directory - Where they go; it is made, if it is not there.
   */
  finish(directory: string): Promise<TracePage>;
  /** Stops receiving, without a page. */
  close(): Promise<void>;
}

/**
 * Begins to collect the traces of brokers, by a receiver in this process. A run that ends before
 * `finish` leaves nothing of them.
 */
export async function startTracing(): Promise<CollectedTracing> {
  const scratch = scratchDirectory('traces');
  const inScratch = (name: string) => join(scratch.path, name);
  const collecting = await collectTracesTo(inScratch('trace.jsonl'), { spans: MAX_SPANS });
  const { OTEL_TRACES_SAMPLER: sampler = '', ...others } = collecting.environment;
  return {
    environment: (sampling) =>
      sampling === 'all' ? { ...others, OTEL_TRACES_SAMPLER: sampler } : others,
    async close() {
      await collecting.close();
      scratch[Symbol.dispose]();
    },
    async finish(directory) {
      await collecting.close();
      const title = 'Traces of a benchmark run';
      const { traces, spans } = await writeTracePage(
        inScratch('trace.jsonl'),
        inScratch('trace.html'),
        { title },
      );
      mkdirSync(directory, { recursive: true });
      const [page = '', file = ''] = ['trace.html', 'trace.jsonl'].map((name) => {
        copyFileSync(inScratch(name), join(directory, name));
        return join(directory, name);
      });
      scratch[Symbol.dispose]();
      return { page, file, traces, spans, dropped: collecting.receiver.dropped };
    },
  };
}
