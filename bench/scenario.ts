import type { BenchConfig } from './config/config.ts';
import type { Cores } from './harness/cores.ts';
import type { Address } from './load/one-try.ts';
import type { Chart } from './report/chart.ts';
import type { Table } from './report/table.ts';

/** Another agent, which runs already, and the simulated EKS that it uses. */
export interface Peer {
  readonly address: Address;
  readonly simulator: string;
}

/** What every scenario is given. */
export interface Bench {
  readonly config: BenchConfig;
  readonly cores: Cores | undefined;
  readonly peer: Peer | undefined;
  /** The program's main file; undefined for the one that was built here. */
  readonly program: string | undefined;
  /** Says what is being done, in a few words. */
  progress(text: string): void;
}

/** What a scenario has to show. */
export interface ScenarioReport {
  /** One sentence each; ratios first. */
  readonly headlines: readonly string[];
  readonly tables: readonly Table[];
  readonly charts: readonly Chart[];
  /** Everything that was measured, for `results/<time>.json`. */
  readonly figures: unknown;
}

/** One thing to measure. */
export interface Scenario {
  readonly name: string;
  /** What it shows, in a sentence. */
  readonly shows: string;
  /** @throws BrokenRunError when the target answered wrongly, or failed where it should not. */
  run(bench: Bench): Promise<ScenarioReport>;
}
