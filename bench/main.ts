import { relative } from 'node:path';
import { BrokenRunError } from './harness/broken-run.ts';
import { separateCores } from './harness/cores.ts';
import { type BenchOptions, readOptions, USAGE } from './options.ts';
import { describeMachine } from './report/machine.ts';
import { Progress } from './report/progress.ts';
import { type Results, writeResults } from './report/results.ts';
import { textTable } from './report/table.ts';

/** Exit status for a command line or configuration that cannot be carried out. */
const USAGE_ERROR = 2;

function optionsOrExit(): BenchOptions {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`error: ${(error as Error).message}\n`);
    process.exit(USAGE_ERROR);
  }
}

/** Runs the scenarios one after the other. Broken ones end the run: it has no results then. */
async function measure(options: BenchOptions): Promise<Results> {
  const { wanted, config, peer, program, quick } = options;
  const started = new Date();
  const cores = separateCores();
  const progress = new Progress(process.stderr);
  const scenarios: Record<string, Results['scenarios'][string]> = {};
  try {
    for (const { name, shows, run } of wanted) {
      progress.begin(name, shows);
      const say = (text: string) => progress.say(text);
      scenarios[name] = { shows, ...(await run({ config, cores, peer, program, progress: say })) };
    }
  } finally {
    progress.end();
  }
  return {
    startedAt: started.toISOString(),
    seconds: (Date.now() - started.getTime()) / 1_000,
    quick,
    machine: describeMachine(cores !== undefined),
    config,
    scenarios,
  };
}

function show(results: Results, directory: string): void {
  const { stdout } = process;
  for (const { headlines, tables } of Object.values(results.scenarios)) {
    stdout.write(`\n${tables.map(textTable).join('\n')}`);
    for (const headline of headlines) stdout.write(`${headline}\n`);
  }
  const files = writeResults(results, directory).map((file) => relative(process.cwd(), file));
  stdout.write(`\n${Math.round(results.seconds)} s; results in ${files.join(' and ')}\n`);
}

const options = optionsOrExit();
if (options.help) {
  process.stdout.write(USAGE);
} else {
  // A run that is given up has to end what it has started; that happens on the way out.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  try {
    show(await measure(options), options.results);
  } catch (error) {
    const { message, stack } = error as Error;
    const told = error instanceof BrokenRunError ? message : (stack ?? message);
    process.stderr.write(`\nThis run is broken, and has no results: ${told}\n`);
    process.exitCode = 1;
  }
}
