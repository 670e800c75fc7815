import { Command, CommanderError } from 'commander';
import { demoCommand } from './demo.ts';
import { explainCommand } from './explain.ts';
import { flushCommand } from './flush.ts';
import { initializeCommand } from './initialize.ts';
import { serverCommand } from './server.ts';
import { statusCommand } from './status.ts';
import { tracesCommand } from './traces.ts';
import { versionCommand, versionLine } from './version.ts';

/** Exit status for a command line that cannot be carried out, as in getopt(3) programs. */
const USAGE_ERROR = 2;

/**
 * The whole command line; each command is made by a file of its own.
 *
 * @param args - What it is for: the file of `simulate`, which loads the simulator, is loaded
 *   only where it is asked for.
 */
async function program(args: readonly string[]): Promise<Command> {
  return new Command('pod-identity-broker')
    .description('Gives the pods of a node their EKS Pod Identity credentials.')
    .showSuggestionAfterError()
    .version(versionLine(), '-V, --version', 'print the version')
    .addCommand(initializeCommand())
    .addCommand(serverCommand())
    .addCommand(statusCommand())
    .addCommand(explainCommand())
    .addCommand(flushCommand())
    .addCommand(versionCommand())
    .addCommand(demoCommand())
    .addCommand(tracesCommand())
    .addCommand(await simulate(args));
}

async function simulate(args: readonly string[]): Promise<Command> {
  const name = 'simulate';
  const [first, second] = args.filter((word) => !word.startsWith('-'));
  const asked = first === name || (first === 'help' && second === name);
  const command = asked ? (await import('./simulate.ts')).simulateCommand() : new Command(name);
  return command.description('run a local EKS: token issuer, associations, EKS Auth and STS');
}

/**
 * Carries out one command line. A command line that is wrong costs one line on standard
 * error that names the flag, and exit status 2; nothing has been started by then.
 *
 * @param args - The words behind the program's name.
 */
export async function run(args: readonly string[]): Promise<void> {
  const words = args.flatMap(unjoin);
  const root = await program(words);
  for (const command of [root, ...root.commands]) {
    command.exitOverride();
    command.configureOutput({
      outputError: (text, write) => write(`${withoutSecrets(text.split('\n')[0] as string)}\n`),
    });
  }
  try {
    await root.parseAsync(words, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? 0 : USAGE_ERROR;
  }
}

/** Hides what a URL may hold that was refused for holding it: a user, a password, a query. */
function withoutSecrets(text: string): string {
  return text.replace(/:\/\/.*[@?].*(?=' (?:is invalid|from env))/, '://…');
}

/** Go's flag package takes `-c=name`, where getopt would read the value `=name`. */
function unjoin(word: string): string[] {
  const match = /^(-[A-Za-z])=(.*)$/s.exec(word);
  return match === null ? [word] : [match[1] as string, match[2] as string];
}
