import { mkdirSync, writeFileSync } from 'node:fs';
import { reportPage } from './page.ts';
import type { Results } from './results.ts';

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
