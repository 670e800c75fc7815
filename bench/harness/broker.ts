import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { Address } from '../load/one-try.ts';
import { ask } from './ask.ts';
import { type Child, freePort, ready, startChild } from './child.ts';

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
  /** From exec until `/readyz` answered 200, in milliseconds. */
  readonly readyAfter: number;
  /** The metrics by name with labels, as they are written. */
  metrics(): Promise<Map<string, number>>;
}

/** How to start a broker. */
export interface BrokerOptions {
  /** The file to run; default {@link BUILT_PROGRAM}. */
  readonly program?: string | undefined;
  readonly core?: number | undefined;
  /** Settings by their environment variables, which other builds ignore if they lack the flag. */
  readonly env?: Readonly<Record<string, string>>;
  /** Further flags of `server`. */
  readonly flags?: readonly string[];
  /** Further flags of Node.js. */
  readonly nodeFlags?: readonly string[];
  /** Milliseconds between two looks at `/readyz`; default 10. */
  readonly probeInterval?: number | undefined;
}

/**
 * Starts the built program against a simulated EKS, with the defaults of `server` otherwise,
 * and waits until it is ready.
 */
export async function startBroker(
  simulator: Pick<RemoteSimulator, 'clusterName' | 'url' | 'region' | 'nodeCredentials' | 'issuer'>,
  options: BrokerOptions = {},
): Promise<Broker> {
  const [port, probePort, metricsPort] = [await freePort(), await freePort(), await freePort()];
  const { nodeCredentials, region } = simulator;
  const directory = mkdtempSync(join(tmpdir(), 'broker-bench-admin-'));
  const child = startChild(
    [
      process.execPath,
      ...NODE_FLAGS,
      ...(options.nodeFlags ?? []),
      options.program ?? BUILT_PROGRAM,
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
        POD_IDENTITY_BROKER_ADMIN_SOCKET: join(directory, 'admin.sock'),
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
    readyAfter,
    metrics: async () => readMetrics((await ask(metricsPort, { path: '/metrics' })).body),
    [Symbol.asyncDispose]: async () => {
      await child[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
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
