import { mkdirSync, writeFileSync } from 'node:fs';
import type { BenchConfig } from '../config/config.ts';
import type { ScenarioReport } from '../scenario.ts';
import type { Machine } from './machine.ts';
import { reportPage } from './page.ts';

/** Everything that a run has to tell. */
export interface Results {
  /** RFC 3339, UTC. */
  readonly startedAt: string;
  readonly seconds: number;
  readonly quick: boolean;
  readonly machine: Machine;
  /** As it was in force, with its seed. */
  readonly config: BenchConfig;
  readonly scenarios: Readonly<Record<string, ScenarioReport & { readonly shows: string }>>;
}

/**
 * Writes `<time>.json` and `report.html`.
 *
 * @returns Both paths.
 */
export function writeResults(results: Results, directory: string): [string, string] {
  mkdirSync(directory, { recursive: true });
  const time = results.startedAt.slice(0, 19).replaceAll(':', '-');
  const files: [string, string] = [`${directory}/${time}.json`, `${directory}/report.html`];
  writeFileSync(files[0], `${JSON.stringify(results, null, 2)}\n`);
  writeFileSync(files[1], reportPage(results));
  return files;
}
