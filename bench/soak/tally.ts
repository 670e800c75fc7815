import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { DurationMs } from '../../src/clock.ts';
import type { Reply } from './ask.ts';

/** Requests and what became of them, by status or by the way in which there was no answer. */
export class Tally {
  readonly #outcomes = new Map<string, number>();
  /** Of all answers, in microseconds. */
  readonly latency: RecordableHistogram = createHistogram();
  requests = 0;

  /** Counts a request that has ended. */
  add({ status, error, took }: Pick<Reply, 'status' | 'error' | 'took'>): void {
    this.requests += 1;
    const outcome = status === 0 ? nameOf(error) : String(status);
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    if (status !== 0) record(this.latency, took);
  }

  /** How many had an outcome. */
  of(outcome: string): number {
    return this.#outcomes.get(outcome) ?? 0;
  }

  /** All outcomes that there were, answers first. */
  outcomes(): [outcome: string, count: number][] {
    return [...this.#outcomes].sort(([left], [right]) => (left < right ? -1 : 1));
  }
}

/** Adds a duration to a histogram of microseconds. */
export function record(histogram: RecordableHistogram, duration: DurationMs): void {
  histogram.record(Math.max(1, Math.round(duration * 1_000)));
}

function nameOf(error: string | undefined): string {
  return error === 'HANG_UP' ? 'hung up' : `no answer (${error ?? 'unknown'})`;
}
