import type { SessionScope } from '../src/config/config.ts';
import type { BenchConfig } from './config/config.ts';
import type { Cores } from './harness/cores.ts';
import type { Chart } from './report/chart.ts';
import type { Table } from './report/table.ts';

/** What every scenario is given. */
export interface Bench {
  readonly config: BenchConfig;
  readonly cores: Cores | undefined;
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

/** The scopes, as the results call them. */
export const SCOPES = ['service-account', 'pod', 'token'] as const satisfies SessionScope[];

/** How a scope is labelled: `token` is the baseline, and says what it is not. */
export const SCOPE_LABEL: Readonly<Record<SessionScope, string>> = {
  'service-account': 'service-account scope',
  pod: 'pod scope',
  token: "token scope (the existing agent's key up to 0.1.x)",
};
