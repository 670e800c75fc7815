import { Progress } from '../report/progress.ts';
import { readOptions, USAGE } from './options.ts';

/** Exit status for a command line that cannot be carried out. */
const USAGE_ERROR = 2;
/** Exit status of a run that was broken off; that of a shell's Ctrl-C. */
const INTERRUPTED = 130;
/** Seconds between lines of progress where there is no terminal. */
const LINE_EVERY = 15;

function prepare() {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`error: ${(error as Error).message}\n`);
    process.exit(USAGE_ERROR);
  }
}

const options = prepare();
if (options === undefined) {
  process.stdout.write(USAGE);
  process.exit(0);
}
process.stdout.write(`seed ${options.seed}\n`);
// What has been started ends with this process, by whichever way it exits.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(INTERRUPTED));

const progress = new Progress(process.stderr);
const { say } = progress.begin('soak', 'a node for some minutes, with faults and hostile clients');
let seconds = 0;
// Loaded here, so that a wrong command line costs no time.
const [{ runSoak }, { soakTable }] = await Promise.all([import('./run.ts'), import('./report.ts')]);
try {
  const result = await runSoak(options, {
    progress: (text) => {
      if (process.stderr.isTTY || seconds % LINE_EVERY === 0) say(text);
      seconds += 1;
    },
  });
  progress.end();
  process.stdout.write(`\n${soakTable(result)}`);
  for (const line of result.findings) process.stdout.write(`${line}\n`);
  process.stdout.write(
    result.findings.length === 0 ? 'Nothing went wrong.\n' : 'It did not hold.\n',
  );
  if (result.log !== undefined) process.stdout.write(`The broker's log: ${result.log}\n`);
  process.exit(result.findings.length === 0 ? 0 : 1);
} catch (error) {
  progress.end();
  process.stderr.write(`\nThis run is broken: ${(error as Error).stack}\n`);
  process.exit(1);
}
