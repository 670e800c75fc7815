import { parseArgs } from 'node:util';
import { readConfig } from './config/config.ts';
import { BrokenRunError } from './harness/broken-run.ts';
import { separateCores } from './harness/cores.ts';
import { Progress } from './report/progress.ts';
import { textTable } from './report/table.ts';
import type { ScenarioReport } from './scenario.ts';
import { SCENARIOS } from './scenarios/index.ts';

const USAGE = `npm run bench -- [options]

  --scenario NAME    only this one (repeatable): ${SCENARIOS.map(({ name }) => name).join(', ')}
  --quick            smaller numbers: all scenarios within two minutes
  --set key=value    changes a field of the configuration, as hit-path.rounds=3 (repeatable)
  --config FILE      the configuration; default bench.config.json
`;

/** Exit status for a command line or configuration that cannot be carried out. */
const USAGE_ERROR = 2;

function readArguments() {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string', multiple: true, default: [] },
      quick: { type: 'boolean', default: false },
      set: { type: 'string', multiple: true, default: [] },
      config: { type: 'string', default: 'bench.config.json' },
      help: { type: 'boolean', default: false },
    },
  });
  const known = SCENARIOS.map(({ name }) => name);
  const unknown = values.scenario.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`--scenario ${unknown} is not known; known: ${known.join(', ')}`);
  }
  const wanted = SCENARIOS.filter(
    ({ name }) => values.scenario.length === 0 || values.scenario.includes(name),
  );
  return { help: values.help, wanted, config: readConfig(values.config, values) };
}

function prepare() {
  try {
    return readArguments();
  } catch (error) {
    process.stderr.write(`error: ${(error as Error).message}\n`);
    process.exit(USAGE_ERROR);
  }
}

const { help, wanted, config } = prepare();
if (help) {
  process.stdout.write(USAGE);
  process.exit(0);
}
const cores = separateCores();
const progress = new Progress(process.stderr);
const reports = new Map<string, ScenarioReport>();
try {
  for (const scenario of wanted) {
    progress.begin(scenario.name, scenario.shows);
    const say = (text: string) => progress.say(text);
    reports.set(scenario.name, await scenario.run({ config, cores, progress: say }));
    progress.end();
  }
} catch (error) {
  progress.end();
  const broken = error instanceof BrokenRunError;
  process.stderr.write(`\nThis run is broken, and has no results: ${(error as Error).message}\n`);
  if (!broken) process.stderr.write(`${(error as Error).stack}\n`);
  process.exit(1);
}
for (const { headlines, tables } of reports.values()) {
  process.stdout.write(`\n${tables.map(textTable).join('\n')}`);
  for (const headline of headlines) process.stdout.write(`${headline}\n`);
}
