import { constants } from 'node:os';
import { relative } from 'node:path';
import { BrokenRunError } from './harness/broken-run.ts';
import { checkCanWrite } from './harness/can-write.ts';
import { separateCores } from './harness/cores.ts';
import { type CollectedTracing, startTracing, type TracePage } from './harness/tracing.ts';
import { type BenchOptions, readOptions, USAGE } from './options.ts';
import { count } from './report/format.ts';
import { describeMachine } from './report/machine.ts';
import { Progress } from './report/progress.ts';
import type { Results, ScenarioResult } from './report/results.ts';
import { subjectLine } from './report/subject.ts';
import { textTable } from './report/table.ts';
import { writeResults } from './report/write-results.ts';
import type { Scenario } from './scenario.ts';
import { alone, waitingTogether } from './scenarios/index.ts';

/** Exit status for a command line or configuration that cannot be carried out. */
const USAGE_ERROR = 2;

function optionsOrExit(): BenchOptions {
  try {
    const options = readOptions(process.argv.slice(2));
    if (!options.help) checkResults(options.results);
    return options;
  } catch (error) {
    process.stderr.write(`error: ${(error as Error).message}\n`);
    process.exit(USAGE_ERROR);
  }
}

/** Before minutes are spent on what could not be kept. */
function checkResults(directory: string): void {
  try {
    checkCanWrite(directory);
  } catch (error) {
    throw new TypeError(`--results ${directory} cannot be written to: ${(error as Error).message}`);
  }
}

/** Runs the scenarios. Broken ones end the run: it has no results then. */
async function measure(
  options: BenchOptions,
  tracing: CollectedTracing | undefined,
): Promise<Results> {
  const { wanted, config, peer, program, quick } = options;
  const started = new Date();
  const cores = separateCores();
  const progress = new Progress(process.stderr);
  const measureOne = async ({ name, shows, run }: Scenario): Promise<[string, ScenarioResult]> => {
    const { say, done } = progress.begin(name, shows);
    const report = await run({ config, cores, peer, program, tracing, progress: say });
    return [name, { shows, seconds: done(), ...report }];
  };
  const measured: [string, ScenarioResult][] = [];
  try {
    for (const group of quick && peer === undefined ? waitingTogether(wanted) : alone(wanted)) {
      measured.push(...(await Promise.all(group.map(measureOne))));
    }
  } finally {
    progress.end();
  }
  return {
    startedAt: started.toISOString(),
    seconds: (Date.now() - started.getTime()) / 1_000,
    quick,
    subject: {
      program,
      peer: peer && {
        url: `http://${peer.address.host}:${peer.address.port}`,
        pid: peer.pid,
        simulator: peer.simulator,
      },
      traced: options.trace,
    },
    machine: describeMachine(cores !== undefined),
    config,
    scenarios: Object.fromEntries(measured),
  };
}

function show(results: Results, directory: string): void {
  const { stdout } = process;
  for (const { headlines, tables } of Object.values(results.scenarios)) {
    stdout.write(`\n${tables.map(textTable).join('\n')}`);
    for (const headline of headlines) stdout.write(`${headline}\n`);
  }
  const files = writeResults(results, directory).map(shown);
  stdout.write(`\n${subjectLine(results)}\n`);
  stdout.write(`${Math.round(results.seconds)} s; results in ${files.join(' and ')}\n`);
}

function showTraces({ page, file, traces, spans, dropped }: TracePage): void {
  const beyond = dropped === 0 ? '' : `; ${count(dropped)} spans more were not kept`;
  process.stdout.write(
    `${count(traces)} traces of ${count(spans)} spans in ${shown(page)}${beyond}\n` +
      `The same as text: traces ${shown(file)}\n`,
  );
}

function shown(file: string): string {
  return relative(process.cwd(), file);
}

const options = optionsOrExit();
if (options.help) {
  process.stdout.write(USAGE);
} else {
  // A run that is given up has to end what it has started; that happens on the way out.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => process.exit(128 + constants.signals[signal]));
  }
  try {
    const tracing = options.trace ? await startTracing() : undefined;
    show(await measure(options, tracing), options.results);
    if (tracing !== undefined) showTraces(await tracing.finish(options.results));
  } catch (error) {
    const { message, stack } = error as Error;
    const told = error instanceof BrokenRunError ? message : (stack ?? message);
    process.stderr.write(`\nThis run is broken, and has no results: ${told}\n`);
    // What else is under way has nothing to tell any more; it ends with this process.
    process.exit(1);
  }
}
