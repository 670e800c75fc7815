import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import { freePort } from '../../src/simulator/free-port.ts';
import { KeptOutput } from '../../src/simulator/test-output.ts';
import type { Address } from '../load/one-try.ts';
import { ask } from './ask.ts';
import { type Child, ready, startChild } from './child.ts';
import { scratchDirectory } from './scratch.ts';
import type { Tracing } from './tracing.ts';

/** The program that is measured unless another is named: the built one. */
export const BUILT_PROGRAM = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

/** The flags that Node.js is started with, as users start it: those of the launcher. */
export const NODE_FLAGS: readonly string[] = readFileSync(
  new URL('../../src/launcher.js', import.meta.url),
  'utf8',
)
  .split('\n', 1)
  .join()
  .split(' ')
  .filter((word) => word.startsWith('--'));

/** A broker in a process of its own. */
export interface Broker extends AsyncDisposable {
  readonly pid: number;
  readonly address: Address;
  readonly process: Child;
  readonly adminSocket: string;
  /** From exec until `/readyz` answered 200, in milliseconds. */
  readonly readyAfter: number;
  /** The metrics by name with labels, as they are written. */
  metrics(): Promise<Map<string, number>>;
}

/** Which program to run, and where its traces go. */
export interface Build {
  /** The program's main file; undefined for {@link BUILT_PROGRAM}. */
  readonly program: string | undefined;
  readonly tracing: Tracing | undefined;
}

/** How to start a broker. */
export interface BrokerOptions {
  readonly core?: number | undefined;
  /** In a run with traces, `default` leaves it to the broker which to record; default `all`. */
  readonly sampling?: 'all' | 'default';
  /** Settings by their environment variables, which other builds ignore if they lack the flag. */
  readonly env?: Readonly<Record<string, string>>;
  /** Further flags of `server`. */
  readonly flags?: readonly string[];
  /** A program that starts it, with arguments that its command line is added to. */
  readonly through?: readonly string[];
  /** Milliseconds between two looks at `/readyz`; default 10. */
  readonly probeInterval?: number | undefined;
}

/**
 * Starts the program against a simulated EKS, with the defaults of `server` otherwise, and waits
 * until it is ready.
 */
export async function startBroker(
  { program, tracing }: Build,
  simulator: Pick<RemoteSimulator, 'clusterName' | 'url' | 'region' | 'nodeCredentials' | 'issuer'>,
  options: BrokerOptions = {},
): Promise<Broker> {
  const [port, probePort, metricsPort] = [await freePort(), await freePort(), await freePort()];
  const { nodeCredentials, region } = simulator;
  const scratch = scratchDirectory('admin');
  const adminSocket = join(scratch.path, 'admin.sock');
  const child = startChild(
    [
      ...(options.through ?? []),
      process.execPath,
      ...NODE_FLAGS,
      program ?? BUILT_PROGRAM,
      'server',
      `--cluster-name=${simulator.clusterName}`,
      `--endpoint=${simulator.url}`,
      `--token-issuer=${simulator.issuer}`,
      '--bind-hosts=127.0.0.1',
      `--port=${port}`,
      `--probe-port=${probePort}`,
      '--metrics-address=127.0.0.1',
      `--metrics-port=${metricsPort}`,
      ...(options.flags ?? []),
    ],
    {
      core: options.core,
      env: {
        AWS_ACCESS_KEY_ID: nodeCredentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: nodeCredentials.secretAccessKey,
        ...(nodeCredentials.sessionToken && { AWS_SESSION_TOKEN: nodeCredentials.sessionToken }),
        AWS_REGION: region,
        AWS_EC2_METADATA_DISABLED: 'true',
        POD_IDENTITY_BROKER_ADMIN_SOCKET: adminSocket,
        ...(tracing?.environment(options.sampling ?? 'all') ?? {}),
        ...options.env,
      },
    },
  );
  await ready(
    child,
    'the broker',
    async () => {
      const answer = await ask(probePort, { path: '/readyz' }).catch(() => undefined);
      return answer?.status === 200;
    },
    options.probeInterval,
  );
  const readyAfter = performance.now() - child.startedAt;
  return {
    pid: child.pid,
    address: { host: '127.0.0.1', port },
    process: child,
    adminSocket,
    readyAfter,
    metrics: async () => readMetrics((await ask(metricsPort, { path: '/metrics' })).body),
    [Symbol.asyncDispose]: async () => {
      await child.stop();
      new KeptOutput('server.stdout').write(child.output());
      await child[Symbol.asyncDispose]();
      scratch[Symbol.dispose]();
    },
  };
}

function readMetrics(text: string): Map<string, number> {
  const metrics = new Map<string, number>();
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$/.exec(line);
    if (match !== null) metrics.set(match[1] as string, Number(match[2]));
  }
  return metrics;
}
