import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { Credentials } from '../../src/simulator/credential-authority.ts';
import { freePort } from '../../src/simulator/free-port.ts';
import type { NodeNamespace } from '../../src/simulator/netns.ts';
import { KeptOutput, testOutputEnvironment } from '../../src/simulator/test-output.ts';
import { type Answer, ask, parseMetrics } from './ask.ts';
import { until } from './until.ts';

/** Where a broker on a node of its own answers pods. */
const LINK_LOCAL = '169.254.170.23';
/** How long the last look at the metrics of a test's broker may take. */
const LAST_LOOK = 1_000;
/** How long it may take to stop before it is killed. */
const STOP_WITHIN = 15_000;
/** The program as Node runs it in a checkout. */
const SOURCES = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** As much of a simulator as a broker has to know; one in another process will do. */
export interface SimulatedCluster {
  readonly url: string;
  readonly clusterName: string;
  readonly region: string;
  readonly nodeCredentials: Credentials;
}

/** How to run the program. */
export interface ProgramOptions {
  /** Flags behind `server`. */
  readonly args?: readonly string[];
  /** The whole environment but for `PATH` and coverage; nothing else is inherited. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Adds `--cluster-name`, `--endpoint` and the node's AWS environment. */
  readonly simulator?: SimulatedCluster;
  /** The file to start, as `buildProgram` makes it. Default: the sources. */
  readonly program?: string | undefined;
  /** How many files it may have open; default as many as this process may. Needs prlimit(1). */
  readonly maxOpenFiles?: number;
  /** A node in a network namespace to run it on; default this machine. */
  readonly node?: Pick<NodeNamespace, 'exec' | 'forward'>;
}

/** How to start a broker. */
export interface BrokerOptions extends ProgramOptions {
  /** Whose teardown stops it; default the test file's. */
  readonly t?: { teardown(callback: () => Promise<unknown>): unknown };
  /** The broker whose ports and admin socket it takes over. */
  readonly succeeds?: BrokerProcess | undefined;
  /** `false`: return at once instead of when `/readyz` says 200. */
  readonly waitUntilReady?: boolean;
}

/** One line of the broker's log. */
export interface LogLine {
  readonly level: string;
  readonly time: string;
  readonly msg: string;
  // biome-ignore lint/suspicious/noExplicitAny: every message has fields of its own
  readonly [field: string]: any;
}

/** A broker in a process of its own. */
export interface BrokerProcess {
  readonly pid: number;
  /** `http://127.0.0.1:<port>`, without the path; from the outside, where it has a node. */
  readonly baseUrl: string;
  /** `<baseUrl>/v1/credentials`. */
  readonly credentialsUri: string;
  readonly port: number;
  readonly probePort: number;
  readonly metricsPort: number;
  /** Undefined: that of the defaults. */
  readonly adminSocket: string | undefined;
  /** Standard output so far. */
  readonly lines: readonly string[];
  /** Standard error so far. */
  stderr(): string;
  /** The lines of standard output that are log lines, parsed. */
  logs(): LogLine[];
  /** Resolves with the first log line, past or future, that matches; rejects after 30 s. */
  logged(matches: (line: LogLine) => boolean): Promise<LogLine>;
  /**
   * Asks for credentials; headers given go over `Authorization` and `Host`. Where it has a node,
   * the request comes from the node itself, to 169.254.170.23.
   */
  get(
    token: string | undefined,
    headers?: Readonly<Record<string, string>>,
    options?: { readonly path?: string; readonly method?: string },
  ): Promise<Answer>;
  /** The metrics, by name and labels as they are written: `pod_identity_http_response{code="200"}`. */
  metrics(): Promise<Map<string, number>>;
  /** The status of `/healthz` or `/readyz`. */
  probe(name: 'healthz' | 'readyz'): Promise<number>;
  /** Sends the signal (default SIGTERM) and waits for the end: the exit code, null if killed. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
  /** Resolves with the exit code when the process has ended. */
  readonly exited: Promise<number | null>;
}

/** The environment of a node of this cluster: its AWS credentials and region, and no IMDS. */
export function nodeEnvironment(cluster: Pick<SimulatedCluster, 'nodeCredentials' | 'region'>) {
  const { accessKeyId, secretAccessKey, sessionToken } = cluster.nodeCredentials;
  return {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    ...(sessionToken !== undefined && { AWS_SESSION_TOKEN: sessionToken }),
    AWS_REGION: cluster.region,
    AWS_EC2_METADATA_DISABLED: 'true',
  };
}

/**
 * Starts `server` as a process, waits until it is ready and stops it at teardown. It listens on
 * free ports of 127.0.0.1; on a node of its own, with the addresses and ports of its defaults.
 *
 * @throws Error with the broker's output, where it ends or is not ready in time.
 */
export async function startBroker(options: BrokerOptions = {}): Promise<BrokerProcess> {
  const { node, succeeds, args = [] } = options;
  const [port, probePort, metricsPort] =
    succeeds !== undefined
      ? [succeeds.port, succeeds.probePort, succeeds.metricsPort]
      : node === undefined
        ? [await freePort(), await freePort(), await freePort()]
        : [await node.forward(80, LINK_LOCAL), await node.forward(2703), await node.forward(2705)];
  const folder =
    node === undefined && succeeds === undefined
      ? await mkdtemp(join(tmpdir(), 'broker-'))
      : undefined;
  const adminSocket = succeeds?.adminSocket ?? (folder && join(folder, 'admin.sock'));
  const flags = [
    `--admin-socket=${adminSocket}`,
    '--bind-hosts=127.0.0.1',
    `--port=${port}`,
    `--probe-port=${probePort}`,
    '--metrics-address=127.0.0.1',
    `--metrics-port=${metricsPort}`,
  ];
  const host = node === undefined ? {} : { Host: LINK_LOCAL };
  const child = launch('server', {
    ...options,
    args: node === undefined ? [...flags, ...args] : args,
  });
  const output = collect(child, 'server');
  const exposed = new KeptOutput('metrics');
  const refusals = new KeptOutput('answers');
  const scrape = async () => {
    const { text } = await ask(metricsPort, '/metrics', 'GET', { Connection: 'close' });
    exposed.write(text);
    return text;
  };
  const baseUrl = `http://127.0.0.1:${port}`;
  const broker: BrokerProcess = {
    pid: child.pid ?? 0,
    baseUrl,
    credentialsUri: `${baseUrl}/v1/credentials`,
    port,
    probePort,
    metricsPort,
    adminSocket,
    lines: output.lines,
    stderr: output.stderr,
    logs: output.logs,
    logged: async (matches) => {
      const found = () => output.logs().find(matches);
      await until(() => found() !== undefined, `no such log line:\n${output.lines.join('\n')}`);
      return found() as LogLine;
    },
    get: async (token, headers, { path = '/v1/credentials', method = 'GET' } = {}) => {
      const answer = await ask(port, path, method, {
        ...host,
        ...(token !== undefined && { Authorization: token }),
        ...headers,
      });
      if (answer.status !== 200) refusals.write(`${answer.text}\n`);
      return answer;
    },
    metrics: async () => parseMetrics(await scrape()),
    probe: async (name) => (await ask(probePort, `/${name}`, 'GET', {})).status,
    exited: output.exited,
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal);
      const last = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN);
      const code = await output.exited;
      clearTimeout(last);
      return code;
    },
  };
  (options.t ?? t).teardown(async () => {
    if (exposed.wanted && child.exitCode === null) {
      // It may hang, as some tests want it to.
      await Promise.race([scrape().catch(() => undefined), pause(LAST_LOOK)]);
    }
    await broker.stop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });
  if (options.waitUntilReady !== false) await ready(broker, output);
  return broker;
}

/** Runs the program to its end. `args` begins with the command's name. */
export async function runProgram(
  args: readonly string[],
  options: Omit<ProgramOptions, 'args'> = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const [command = '', ...rest] = args;
  const output = collect(launch(command, { ...options, args: rest }), command);
  const code = await output.exited;
  return {
    code,
    stdout: output.lines.map((line) => `${line}\n`).join(''),
    stderr: output.stderr(),
  };
}

/** Starts a command of the program that does not end by itself; the test's teardown ends it. */
export function startProgram(
  t: { teardown(callback: () => Promise<unknown>): unknown },
  args: readonly string[],
): {
  /** Standard output so far, line by line. */
  readonly lines: readonly string[];
  /** Standard error so far. */
  stderr(): string;
  /** Sends the signal and waits for the end. */
  stop(signal: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
} {
  const [command = '', ...rest] = args;
  const child = launch(command, { args: rest });
  const { lines, stderr, exited } = collect(child, command);
  const stop = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    const code = await exited;
    return { code, signal: child.signalCode };
  };
  t.teardown(() => stop('SIGKILL'));
  return { lines, stderr, stop };
}

function launch(command: string, options: ProgramOptions): ChildProcess {
  const { simulator, program = SOURCES, env = {}, args = [] } = options;
  const cluster =
    simulator === undefined
      ? []
      : [`--cluster-name=${simulator.clusterName}`, `--endpoint=${simulator.url}`];
  const { PATH, NODE_V8_COVERAGE } = process.env;
  const start = options.node?.exec.bind(options.node) ?? spawn;
  const { maxOpenFiles: files } = options;
  const [first = '', ...rest] = [
    ...(files === undefined ? [] : ['prlimit', `--nofile=${files}:${files}`]),
    process.execPath,
    program,
  ];
  return start(first, [...rest, command, ...cluster, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH,
      ...(NODE_V8_COVERAGE !== undefined && { NODE_V8_COVERAGE }),
      ...(command !== 'server' && testOutputEnvironment),
      ...(simulator !== undefined && nodeEnvironment(simulator)),
      ...env,
    },
  });
}

type Output = ReturnType<typeof collect>;

function collect(child: ChildProcess, command: string) {
  const lines: string[] = [];
  let errors = '';
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new TypeError('output has to be piped');
  // `simulate` prints the node's credentials: that is what it is asked for.
  if (command !== 'simulate') {
    for (const [name, stream] of Object.entries({ stdout, stderr })) {
      const kept = new KeptOutput(`${command}.${name}`);
      if (kept.wanted) stream.on('data', (chunk: string | Buffer) => kept.write(chunk));
    }
  }
  createInterface({ input: stdout }).on('line', (line) => lines.push(line));
  stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  // 'close' comes after the last of the output.
  const exited = once(child, 'close').then(([code]) => code as number | null);
  exited.catch(() => undefined);
  return {
    lines,
    exited,
    stderr: () => errors,
    logs: () =>
      lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)) as LogLine[],
  };
}

async function ready(broker: BrokerProcess, output: Output): Promise<void> {
  let ended = false;
  void output.exited.finally(() => {
    ended = true;
  });
  await until(
    async () => {
      if (ended) return true;
      return (await broker.probe('readyz').catch(() => 0)) === 200;
    },
    () => `not ready:\n${output.lines.join('\n')}\n${output.stderr()}`,
  );
  if (ended) {
    const code = await output.exited;
    throw new Error(`ended with ${code}:\n${output.lines.join('\n')}\n${output.stderr()}`);
  }
}
