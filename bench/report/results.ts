import type { BenchConfig } from '../config/config.ts';
import type { Chart } from './chart.ts';
import type { Machine } from './machine.ts';
import type { Table } from './table.ts';

/** What a scenario has to show. */
export interface ScenarioReport {
  /** One sentence each; ratios first. */
  readonly headlines: readonly string[];
  readonly tables: readonly Table[];
  readonly charts: readonly Chart[];
  /** Everything that was measured, for `results/<time>.json`. */
  readonly figures: unknown;
}

/** The report of a scenario that this machine cannot run. */
export function leftOut(reason: string): ScenarioReport {
  return { headlines: [`left out: ${reason}`], tables: [], charts: [], figures: { reason } };
}

/** What was measured: which program, and beside whom. */
export interface Subject {
  /** Another build that was named; undefined for this checkout's. */
  readonly program: string | undefined;
  readonly peer:
    | { readonly url: string; readonly pid: number | undefined; readonly simulator: string }
    | undefined;
  /** Every request was traced: figures have the cost of that in them. */
  readonly traced: boolean;
}

/** Everything that a run has to tell. */
export interface Results {
  /** RFC 3339, UTC. */
  readonly startedAt: string;
  readonly seconds: number;
  readonly quick: boolean;
  readonly subject: Subject;
  readonly machine: Machine;
  /** As it was in force, with its seed. */
  readonly config: BenchConfig;
  readonly scenarios: Readonly<Record<string, ScenarioResult>>;
}

/** A scenario that has run. */
export interface ScenarioResult extends ScenarioReport {
  readonly shows: string;
  /** How long it ran. */
  readonly seconds: number;
}
