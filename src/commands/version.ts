import { Command } from 'commander';
import { version } from '../version.ts';

/** `version`: prints the version of the broker and of Node.js. */
export function versionCommand(): Command {
  return new Command('version').description('print the version').action(() => {
    process.stdout.write(`${versionLine()}\n`);
  });
}

/** The version of the broker and of Node.js. */
export function versionLine(): string {
  return `pod-identity-broker ${version()} (Node.js ${process.version})`;
}
