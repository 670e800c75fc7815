import type { DurationMs } from '../../src/clock.ts';
import { residentKiB } from '../harness/process-stats.ts';
import { sleep } from './sleep.ts';

const SAMPLE_EVERY: DurationMs = 1_000;
/** The part of a run after which caches and heap have the size that they keep. */
const WARM_AFTER = 0.4;
/** The part of a run from which its end is told. */
const END_FROM = 0.85;
/** V8 takes memory in steps and gives it back late: so much is noise. */
const NOISE = { part: 0.15, kib: 12 * 1_024 };

/** Resident memory in KiB. */
export interface MemoryReport {
  readonly start: number;
  readonly warm: number;
  readonly end: number;
  readonly most: number;
  /** It grew beyond noise. */
  readonly grew: boolean;
}

/** Watches how much memory a process has resident. */
export class Memory {
  readonly #pid: number;
  readonly #samples: number[] = [];

  constructor(pid: number) {
    this.#pid = pid;
    this.#samples.push(residentKiB(pid));
  }

  /** The latest, in KiB. */
  get now(): number {
    return this.#samples.at(-1) as number;
  }

  /** Watches until it is told to stop. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(SAMPLE_EVERY, signal);
      this.#samples.push(residentKiB(this.#pid));
    }
  }

  /** What there was: the middle of what was seen around the time in question. */
  report(): MemoryReport {
    const samples = this.#samples;
    const { length } = samples;
    const window = 1 - END_FROM;
    const part = (from: number, to: number) =>
      median(samples.slice(Math.floor(from * length), Math.max(1, Math.ceil(to * length))));
    const warm = part(WARM_AFTER, WARM_AFTER + window);
    const end = part(END_FROM, 1);
    return {
      start: samples[0] as number,
      warm,
      end,
      most: Math.max(...samples),
      grew: end - warm > Math.max(NOISE.kib, warm * NOISE.part),
    };
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] as number;
}
