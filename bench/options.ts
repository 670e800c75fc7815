import { existsSync } from 'node:fs';
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
  /** All requests are traced, and a page is made of it. */
  readonly trace: boolean;
}

export const USAGE = `npm run bench -- [options]

  --scenario NAME    only this one (repeatable): ${SCENARIOS.map(({ name }) => name).join(', ')}
  --quick            smaller numbers: all scenarios within two minutes
  --set KEY=VALUE    changes a field of the configuration, as hit-path.rounds=3 (repeatable)
  --config FILE      the configuration; default bench.config.json
  --results DIR      where results go; default bench/results
  --trace            collects the traces of all brokers, and makes trace.html of them beside the
                     report; the figures are then those of a broker that is traced
  --program FILE     another build of the program, as ../before/dist/main.js
  --peer URL         another agent that runs already, as http://127.0.0.1:8081: the same load,
                     in turns with the broker
  --peer-pid PID     its process, for CPU time and memory, where it runs on this machine
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
      trace: { type: 'boolean', default: false },
      peer: { type: 'string' },
      'peer-pid': { type: 'string' },
      simulator: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const known = SCENARIOS.map(({ name }) => name);
  const unknown = values.scenario.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`--scenario ${unknown} is not known; known: ${known.join(', ')}`);
  }
  for (const option of ['simulator', 'peer-pid'] as const) {
    if (values[option] !== undefined && values.peer === undefined) {
      throw new TypeError(`--${option} is the one of a --peer`);
    }
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
    trace: values.trace,
    peer:
      values.peer === undefined
        ? undefined
        : readPeer(values.peer, values.simulator, values['peer-pid']),
  };
}

function readPeer(url: string, simulator = DEFAULT_SIMULATOR, pid?: string): Peer {
  const { hostname, port } = readUrl('--peer', url);
  const { origin } = readUrl('--simulator', simulator);
  return {
    address: { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 80 : Number(port) },
    simulator: origin,
    pid: pid === undefined ? undefined : readPid(pid),
  };
}

function readPid(text: string): number {
  if (!/^\d+$/.test(text) || !existsSync(`/proc/${text}/stat`)) {
    throw new TypeError(`--peer-pid must be a process of this machine, not ${text}`);
  }
  return Number(text);
}

function readUrl(option: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:') {
    throw new TypeError(`${option} must be a URL as http://127.0.0.1:8081, not ${text}`);
  }
  return url;
}
