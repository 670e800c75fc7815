import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { SimulatorOptions } from '../../src/simulator/options.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { keepFile } from '../../src/simulator/test-output.ts';
import { collectTracesTo } from '../../src/simulator/traces/collect-traces.ts';
import type { AttributeValue, CollectedSpan } from '../../src/traces/span.ts';
import { readTraceFile } from '../../src/traces/trace-file.ts';
import { type BrokerProcess, startBroker } from './broker-process.ts';

/** Where a test's pods live. */
export const NAMESPACE = 'shop';

/** How to run a broker whose traces are collected. */
export interface TracedOptions {
  readonly simulator?: SimulatorOptions;
  /** Flags behind `server`. */
  readonly args?: readonly string[];
  /** Over the environment that collects everything. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A broker whose traces are collected. */
export interface TracedBroker {
  readonly simulator: Simulator;
  readonly broker: BrokerProcess;
  /** The file that they are collected in. */
  readonly file: string;
  /** The token of a new pod of a service account, which has a role. */
  token(serviceAccount: string): string;
  /** Stops the broker with SIGTERM; all spans that it made. */
  spans(): Promise<Spans>;
}

/** Starts a simulator and a broker, which end with the test. */
export async function startTracedBroker(
  t: Test,
  { simulator: given, args = [], env }: TracedOptions = {},
): Promise<TracedBroker> {
  const folder = await mkdtemp(join(tmpdir(), 'traces-'));
  const file = join(folder, 'traces.jsonl');
  t.teardown(async () => {
    keepFile(file);
    await rm(folder, { recursive: true });
  });
  const simulator = await startSimulator({ keyAlgorithm: 'ES256', latency: 20, ...given });
  t.teardown(() => simulator.close());
  const collecting = await collectTracesTo(file);
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= collecting.close();
    return closed;
  };
  t.teardown(close);
  const broker = await startBroker({
    t,
    simulator,
    args: [`--token-issuer=${simulator.issuer}`, '--connect-timeout=10s', ...args],
    env: { ...collecting.environment, ...env },
  });
  const known = new Set<string>();
  return {
    simulator,
    broker,
    file,
    token(serviceAccount) {
      if (!known.has(serviceAccount)) {
        known.add(serviceAccount);
        simulator.associations.create({
          namespace: NAMESPACE,
          serviceAccount,
          roleArn: `arn:aws:iam::${simulator.account}:role/${serviceAccount}`,
        });
      }
      return simulator.kubelet.createPod({ namespace: NAMESPACE, serviceAccount }).token;
    },
    async spans() {
      await broker.stop();
      await close();
      return new Spans((await readTraceFile(file)).spans);
    },
  };
}

/** Spans that were collected, to look into. */
export class Spans {
  readonly all: readonly CollectedSpan[];

  constructor(all: readonly CollectedSpan[]) {
    this.all = all;
  }

  named(name: string): CollectedSpan[] {
    return this.all
      .filter((span) => span.name === name)
      .toSorted((left, right) => left.startedAt - right.startedAt);
  }

  /** The spans of requests, in the order in which they came in. */
  get requests(): CollectedSpan[] {
    return this.named('GET /v1/credentials');
  }

  /** The calls to EKS Auth. */
  get calls(): CollectedSpan[] {
    return this.named('EKSAuth.AssumeRoleForPodIdentity');
  }

  /** The spans right below one, by their start. */
  below({ traceId, spanId }: CollectedSpan): CollectedSpan[] {
    return this.all
      .filter((span) => span.traceId === traceId && span.parentId === spanId)
      .toSorted((left, right) => left.startedAt - right.startedAt);
  }
}

/** Attributes as an object. */
export function attributes({
  attributes: read,
}: Pick<CollectedSpan, 'attributes'>): Record<string, AttributeValue> {
  return Object.fromEntries(read);
}
