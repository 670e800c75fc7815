import type { DurationMs } from '../../src/clock.ts';
import { residentKiB } from '../harness/process-stats.ts';
import { sleep } from './sleep.ts';

const SAMPLE_EVERY: DurationMs = 1_000;
/** The parts of a run that are compared: caches are full, and each sees V8 collect at least once. */
const WARM: Part = [0.25, 0.6];
const END: Part = [0.65, 1];
/** V8 takes memory in steps and gives it back late: so much is noise. */
const NOISE = { part: 0.15, kib: 12 * 1_024 };

type Part = readonly [from: number, to: number];

/** Resident memory in KiB. */
export interface MemoryReport {
  readonly start: number;
  /** The least of the middle and of the last part of the run: what garbage comes and goes on top of. */
  readonly warm: number;
  readonly end: number;
  readonly most: number;
  /** Both floor and peak rose beyond noise: V8 may keep what it once had, but then needs no more. */
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

  /** What there was. */
  report(): MemoryReport {
    const samples = this.#samples;
    const during = ([from, to]: Part) =>
      samples.slice(Math.floor(from * samples.length), Math.ceil(to * samples.length));
    const [warm, end] = [during(WARM), during(END)];
    const floor = Math.min(...warm);
    const noise = Math.max(NOISE.kib, floor * NOISE.part);
    return {
      start: samples[0] as number,
      warm: floor,
      end: Math.min(...end),
      most: Math.max(...samples),
      grew: Math.min(...end) - floor > noise && Math.max(...end) - Math.max(...warm) > noise,
    };
  }
}
