import type { RecordableHistogram } from 'node:perf_hooks';
import { count, milliseconds } from '../report/format.ts';
import { type Table, textTable } from '../report/table.ts';
import type { LoopDelay } from './broker-metrics.ts';
import type { DoubleFetches } from './calls.ts';
import type { MemoryReport } from './memory.ts';
import type { Tally } from './tally.ts';

/** What a run has come to. */
export interface SoakResult {
  readonly seed: number;
  readonly seconds: number;
  /** By how much the clock of EKS was ahead of the node's, in milliseconds. */
  readonly clockOffset: number;
  readonly pods: Tally;
  readonly forged: Tally;
  readonly malformed: number;
  readonly wrongAnswers: number;
  readonly checked: number;
  readonly checkedAtSts: number;
  readonly failedFirstTries: number;
  readonly calls: readonly (readonly [outcome: string, count: number])[];
  readonly faults: readonly (readonly [fault: string, count: number])[];
  readonly fetches: { readonly fewest: number; readonly most: number };
  /** How often each shared session had to be fetched. */
  readonly minFetches: number;
  readonly troubles: number;
  readonly flushes: number;
  readonly keyRotations: number;
  readonly doubleFetches: DoubleFetches;
  readonly forgedCalls: number;
  readonly memory: MemoryReport;
  /** Microseconds. */
  readonly hits: RecordableHistogram;
  /** Of this process, which asks and measures; nanoseconds. */
  readonly ownDelay: { percentile(part: number): number; readonly max: number };
  readonly loopDelay: LoopDelay;
  /** Calls for tokens that could not be verified on the node. */
  readonly unverified: number;
  readonly exitCode: number | null;
  /** What went wrong; empty when nothing did. */
  readonly findings: readonly string[];
  /** Where the broker's log was kept, if anything went wrong. */
  readonly log: string | undefined;
}

/** Writes the table that a run ends with. */
export function soakTable(result: SoakResult): string {
  const { memory, doubleFetches: double, fetches, loopDelay: loop } = result;
  const rows: [string, string][] = [
    ['requests of pods', count(result.pods.requests)],
    ...outcomes(result.pods),
    ['requests with forged tokens', count(result.forged.requests)],
    ...outcomes(result.forged),
    ['malformed or unfinished requests', count(result.malformed)],
    ['answers held against the audit log', count(result.checked)],
    ['credentials used at STS', count(result.checkedAtSts)],
    ['wrong answers', count(result.wrongAnswers)],
    ['first tries that failed while everything was well', count(result.failedFirstTries)],
    ['calls to EKS Auth', count(result.calls.reduce((sum, [, each]) => sum + each, 0))],
    ...result.calls.map(([outcome, each]) => [`  ${outcome}`, count(each)] as [string, string]),
    ['calls for made-up tokens', count(result.forgedCalls)],
    ['calls for tokens that could not be verified', count(result.unverified)],
    ['fetches of a shared session', `${fetches.fewest} to ${fetches.most}`],
    ['  at least, for a run of this length', count(result.minFetches)],
    ['double fetches', count(double.real)],
    ['  calls that met after a flush', count(double.afterFlush)],
    ['  calls that met for different sessions', count(double.otherSession)],
    ['troubles', count(result.troubles)],
    ['flushes', count(result.flushes)],
    ['key rotations', count(result.keyRotations)],
    ['broker memory at start', mebibytes(memory.start)],
    ['  least in the middle of the run', mebibytes(memory.warm)],
    ['  least in its last third', mebibytes(memory.end)],
    ['  most', mebibytes(memory.most)],
    ['event loop delay of the broker, 50 % within', milliseconds(loop.p50)],
    ['  99 % within', milliseconds(loop.p99)],
    ['  worst', milliseconds(loop.worst)],
    ['hit, 50 % within', microseconds(result.hits.percentile(50))],
    ['  99 % within', microseconds(result.hits.percentile(99))],
    ['  slowest', microseconds(result.hits.max)],
    ['any answer, slowest', microseconds(result.pods.latency.max)],
    ['delay of this process, 99 % within', microseconds(result.ownDelay.percentile(99) / 1_000)],
    ['exit code of the broker', String(result.exitCode)],
  ];
  const met = result.faults.map(([fault, each]) => `${fault} ${count(each)}`).join(', ');
  const table: Table = {
    title: `Soak of ${Math.round(result.seconds)} s, seed ${result.seed}, the clock of EKS ${result.clockOffset / 1_000} s ahead`,
    columns: ['what', 'figure'],
    rows,
    notes: [`Faults met, by calls: ${met || 'none'}.`],
  };
  return textTable(table);
}

function outcomes(tally: Tally): [string, string][] {
  return tally.outcomes().map(([outcome, each]) => [`  ${outcome}`, count(each)]);
}

function mebibytes(kib: number): string {
  return `${(kib / 1_024).toFixed(1)} MiB`;
}

function microseconds(value: number): string {
  return milliseconds(value / 1_000);
}
