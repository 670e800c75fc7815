import { Command, CommanderError } from 'commander';
import type { Config } from '../../src/config/config.ts';
import { addServerOptions, serverConfig } from '../../src/config/server-options.ts';

/** Variables of the environment. */
export type Variables = Readonly<Record<string, string>>;

/** Reads flags and variables, with nothing of this process's own environment. */
export function read(args: readonly string[], variables: Variables = {}): Config {
  const before = process.env;
  process.env = { ...variables };
  try {
    const command = addServerOptions(new Command('server'))
      .exitOverride()
      .configureOutput({ writeErr: () => undefined });
    command.parse(args, { from: 'user' });
    return serverConfig(command, process.env);
  } finally {
    process.env = before;
  }
}

/** What is said of a command line that is refused. */
export function complaint(args: readonly string[], variables: Variables = {}): string {
  try {
    read(args, variables);
  } catch (error) {
    if (error instanceof CommanderError) return error.message;
    throw error;
  }
  throw new Error(`was taken: ${args.join(' ')}`);
}

/** The one flag that is mandatory. */
export const NAME = ['--cluster-name', 'prod'];
