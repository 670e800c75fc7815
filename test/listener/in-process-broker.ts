import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import type { Test } from 'tap';
import { type Broker, startBroker } from '../../src/broker/broker.ts';
import { addServerOptions, serverConfig } from '../../src/config/server-options.ts';
import { freePort } from '../../src/simulator/free-port.ts';
import {
  type Simulator,
  type SimulatorOptions,
  startSimulator,
} from '../../src/simulator/simulator.ts';
import { nodeEnvironment } from '../support/broker-process.ts';
import { type CapturedLine, capturedLog } from '../support/captured-log.ts';

/** All nodes have the same, since the SDK's default chain reads the environment of the process. */
const NODE = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'example-of-a-secret-key' };

/** A broker in this process, over a simulated EKS. */
export interface InProcessBroker {
  readonly simulator: Simulator;
  readonly port: number;
  readonly probePort: number;
  readonly metricsPort: number;
  readonly lines: readonly CapturedLine[];
  /** The token of a new pod of `shop/<service account>`. */
  token(serviceAccount?: string): string;
  stop(): Promise<void>;
}

/** What to start it with. */
export interface InProcessOptions {
  /** Where it answers; default is 127.0.0.1. */
  readonly hosts?: readonly string[];
  /** Flags behind `server`; they go over those that are there by default. */
  readonly args?: readonly string[];
  readonly simulator?: SimulatorOptions;
  /** Where it logs to; default is a log of its own. */
  readonly logged?: ReturnType<typeof capturedLog>;
  /** What says where it runs; default nothing. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Starts both; the service account `shop/cart` has a role. They end with the test. */
export async function startInProcess(
  t: Test,
  {
    hosts = ['127.0.0.1'],
    args = [],
    simulator: options = {},
    environment: place = {},
    logged = capturedLog(),
  }: InProcessOptions = {},
): Promise<InProcessBroker> {
  const simulator = await startSimulator({
    keyAlgorithm: 'ES256',
    nodeCredentials: NODE,
    ...options,
  });
  t.teardown(() => simulator.close());
  simulator.associations.create({
    namespace: 'shop',
    serviceAccount: 'cart',
    roleArn: 'arn:aws:iam::111122223333:role/cart',
  });
  const environment = nodeEnvironment(simulator);
  Object.assign(process.env, environment);
  const [port, probePort, metricsPort] = [await freePort(), await freePort(), await freePort()];
  const folder = mkdtempSync(join(tmpdir(), 'broker-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const command = addServerOptions(new Command('server')).exitOverride();
  command.parse(
    [
      `--cluster-name=${simulator.clusterName}`,
      `--endpoint=${simulator.url}`,
      `--token-issuer=${simulator.issuer}`,
      `--bind-hosts=${hosts}`,
      '--metrics-address=127.0.0.1',
      `--port=${port}`,
      `--probe-port=${probePort}`,
      `--metrics-port=${metricsPort}`,
      `--admin-socket=${join(folder, 'admin.sock')}`,
      '--max-pod-qps=0',
      ...args,
    ],
    { from: 'user' },
  );
  const { log, lines } = logged;
  const never = new AbortController().signal;
  const broker: Broker = await startBroker({
    config: serverConfig(command, place),
    environment,
    log,
    logLinesDropped: () => 0,
    signal: never,
  });
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= broker.stop();
    return stopped;
  };
  t.teardown(stop);
  return {
    simulator,
    port,
    probePort,
    metricsPort,
    lines,
    token: (serviceAccount = 'cart') =>
      simulator.kubelet.createPod({ namespace: 'shop', serviceAccount }).token,
    stop,
  };
}
