import { readFileSync } from 'node:fs';

/** The version of this build, from `package.json`. */
export function version(): string {
  // The sources are one folder deep, and so is what was built.
  const file = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}
