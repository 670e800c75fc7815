import { readFileSync } from 'node:fs';
import { Command } from 'commander';

/** The version of this build, from `package.json`. */
export function version(): string {
  // The sources are two folders deep; what was built lies in one.
  const up = import.meta.url.endsWith('.ts') ? '../..' : '..';
  const file = readFileSync(new URL(`${up}/package.json`, import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}

/** `version`: prints the version of the broker and of Node.js. */
export function versionCommand(): Command {
  return new Command('version').description('print the version').action(() => {
    process.stdout.write(`pod-identity-broker ${version()} (Node.js ${process.version})\n`);
  });
}
