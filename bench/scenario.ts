import type { BenchConfig } from './config/config.ts';
import type { Cores } from './harness/cores.ts';
import type { Tracing } from './harness/tracing.ts';
import type { Address } from './load/one-try.ts';
import type { ScenarioReport } from './report/results.ts';

/** Another agent, which runs already, and the simulated EKS that it uses. */
export interface Peer {
  readonly address: Address;
  readonly simulator: string;
  /** Its process, where it is known. */
  readonly pid: number | undefined;
}

/** What every scenario is given. */
export interface Bench {
  readonly config: BenchConfig;
  readonly cores: Cores | undefined;
  readonly peer: Peer | undefined;
  /** The program's main file; undefined for the one that was built here. */
  readonly program: string | undefined;
  /** Where brokers send their traces; undefined unless all are to be traced. */
  readonly tracing: Tracing | undefined;
  /** Says what is being done, in a few words. */
  progress(text: string): void;
}

/** One thing to measure. */
export interface Scenario {
  readonly name: string;
  /** What it shows, in a sentence. */
  readonly shows: string;
  /** Its brokers and clients wait most of the time, so that others like it may run beside it. */
  readonly mostlyWaits?: true;
  /** @throws BrokenRunError when the target answered wrongly, or failed where it should not. */
  run(bench: Bench): Promise<ScenarioReport>;
}
