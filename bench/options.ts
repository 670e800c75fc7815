import { parseArgs } from 'node:util';
import { type BenchConfig, readConfig } from './config/config.ts';
import type { Peer, Scenario } from './scenario.ts';
import { SCENARIOS } from './scenarios/index.ts';

/** What a command line asks for. */
export interface BenchOptions {
  readonly help: boolean;
  readonly quick: boolean;
  readonly wanted: readonly Scenario[];
  readonly config: BenchConfig;
  readonly peer: Peer | undefined;
  readonly program: string | undefined;
  readonly results: string;
}

export const USAGE = `npm run bench -- [options]

  --scenario NAME    only this one (repeatable): ${SCENARIOS.map(({ name }) => name).join(', ')}
  --quick            smaller numbers: all scenarios within two minutes
  --set KEY=VALUE    changes a field of the configuration, as hit-path.rounds=3 (repeatable)
  --config FILE      the configuration; default bench.config.json
  --results DIR      where results go; default bench/results
  --program FILE     another build of the program, as ../before/dist/main.js
  --peer URL         another agent that runs already, as http://127.0.0.1:8081: the same load,
                     side by side in turns
  --simulator URL    the simulated EKS that the peer uses; default http://127.0.0.1:8090
`;

/** Where `simulate` listens by default. */
const DEFAULT_SIMULATOR = 'http://127.0.0.1:8090';

/**
 * Reads a command line and the configuration that it names.
 *
 * @param args - The words behind the program's name.
 * @throws TypeError that names the option or the field.
 */
export function readOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenario: { type: 'string', multiple: true, default: [] },
      quick: { type: 'boolean', default: false },
      set: { type: 'string', multiple: true, default: [] },
      config: { type: 'string', default: 'bench.config.json' },
      results: { type: 'string', default: 'bench/results' },
      program: { type: 'string' },
      peer: { type: 'string' },
      simulator: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const known = SCENARIOS.map(({ name }) => name);
  const unknown = values.scenario.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`--scenario ${unknown} is not known; known: ${known.join(', ')}`);
  }
  if (values.simulator !== undefined && values.peer === undefined) {
    throw new TypeError('--simulator is the one of a --peer');
  }
  return {
    help: values.help,
    quick: values.quick,
    wanted: SCENARIOS.filter(
      ({ name }) => values.scenario.length === 0 || values.scenario.includes(name),
    ),
    config: readConfig(values.config, values),
    program: values.program,
    results: values.results,
    peer: values.peer === undefined ? undefined : readPeer(values.peer, values.simulator),
  };
}

function readPeer(url: string, simulator = DEFAULT_SIMULATOR): Peer {
  const { hostname, port } = readUrl('--peer', url);
  const { origin } = readUrl('--simulator', simulator);
  return {
    address: { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 80 : Number(port) },
    simulator: origin,
  };
}

function readUrl(option: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:') {
    throw new TypeError(`${option} must be a URL as http://127.0.0.1:8081, not ${text}`);
  }
  return url;
}
