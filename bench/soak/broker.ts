import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import { ask } from '../harness/ask.ts';
import { type Child, freePort, ready, startChild } from '../harness/child.ts';
import type { Timing } from './timing.ts';
import { OWN } from './world.ts';

/** The sources, which `npm run soak` need not build. */
const PROGRAM = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Small enough that tokens have to make room for others. */
const MAX_VERIFIED_TOKENS = 64;

/** The broker under test, in a process of its own. */
export interface Broker {
  readonly process: Child;
  readonly port: number;
  readonly adminSocket: string;
  /** The metrics by name with labels, as they are written. */
  metrics(): Promise<Map<string, number>>;
}

/**
 * Starts the broker on a node of a simulated cluster, and waits until it is ready.
 *
 * @param folder - Where its admin socket goes; nobody else's.
 */
export async function startBroker(
  simulator: RemoteSimulator,
  timing: Timing,
  folder: string,
): Promise<Broker> {
  const [port, probePort, metricsPort] = [await freePort(), await freePort(), await freePort()];
  const adminSocket = join(folder, 'admin.sock');
  const { nodeCredentials, region } = simulator;
  const child = startChild(
    [
      process.execPath,
      PROGRAM,
      'server',
      `--cluster-name=${simulator.clusterName}`,
      `--endpoint=${simulator.url}`,
      `--token-issuer=${simulator.issuer}`,
      `--admin-socket=${adminSocket}`,
      '--bind-hosts=127.0.0.1',
      `--port=${port}`,
      `--probe-port=${probePort}`,
      '--metrics-address=127.0.0.1',
      `--metrics-port=${metricsPort}`,
      `--pod-scope=${OWN}`,
      `--max-verified-tokens=${MAX_VERIFIED_TOKENS}`,
      `--client-wait=${timing.clientWait}ms`,
      `--attempt-timeout=${timing.attemptTimeout}ms`,
      `--flight-timeout=${timing.flightTimeout}ms`,
    ],
    {
      env: {
        AWS_ACCESS_KEY_ID: nodeCredentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: nodeCredentials.secretAccessKey,
        ...(nodeCredentials.sessionToken && { AWS_SESSION_TOKEN: nodeCredentials.sessionToken }),
        AWS_REGION: region,
        AWS_EC2_METADATA_DISABLED: 'true',
      },
    },
  );
  await ready(
    child,
    'the broker',
    async () => (await ask(probePort, { path: '/readyz' }).catch(() => undefined))?.status === 200,
  );
  return {
    process: child,
    port,
    adminSocket,
    metrics: async () => readMetrics((await ask(metricsPort, { path: '/metrics' })).body),
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
