import { type IncomingHttpHeaders, request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import type { AuditEvent } from '../../src/simulator/audit.ts';
import type { SimulatorOptions } from '../../src/simulator/options.ts';
import type { Pod } from '../../src/simulator/pod.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type BrokerOptions, type BrokerProcess, startBroker } from '../support/broker-process.ts';

/** Where a test's pods live, if it says nothing else. */
export const NAMESPACE = 'shop';

/** A local EKS whose faults the test commands. */
export interface Cluster {
  readonly simulator: Simulator;
  /** Gives service accounts roles of their own names. */
  associate(...serviceAccounts: readonly string[]): void;
  /** A new pod of a service account. */
  pod(serviceAccount: string): Pod;
  /** A broker on a node of this cluster, which has been told the issuer and has its keys. */
  broker(options?: ClusterBrokerOptions): Promise<BrokerProcess>;
  /** Calls to EKS Auth in the order in which they came in, of one service account or of all. */
  calls(serviceAccount?: string): AuditEvent[];
}

/** How to start a broker of a {@link Cluster}. */
export interface ClusterBrokerOptions extends BrokerOptions {
  /** `false`: the issuer's keys cannot be had, or their fetch is what is tested. */
  readonly waitForKeys?: boolean;
}

/** Starts a cluster that ends with the test. */
export async function startCluster(t: Test, options: SimulatorOptions = {}): Promise<Cluster> {
  const simulator = await startSimulator(options);
  t.teardown(() => simulator.close());
  return {
    simulator,
    associate(...serviceAccounts) {
      for (const serviceAccount of serviceAccounts) {
        simulator.associations.create({
          namespace: NAMESPACE,
          serviceAccount,
          roleArn: roleOf(serviceAccount),
        });
      }
    },
    pod: (serviceAccount) => simulator.kubelet.createPod({ namespace: NAMESPACE, serviceAccount }),
    async broker({ args = [], waitForKeys = true, ...others } = {}) {
      const broker = await startBroker({
        t,
        simulator,
        args: [`--token-issuer=${simulator.issuer}`, ...args],
        ...others,
      });
      if (waitForKeys && others.waitUntilReady !== false) {
        await broker.logged(({ msg }) => msg === 'token issuer keys loaded');
      }
      return broker;
    },
    calls: (serviceAccount) =>
      simulator.audit
        .events({ service: 'eks-auth', ...(serviceAccount !== undefined && { serviceAccount }) })
        .sort((left, right) => left.time - right.time),
  };
}

/** The role that {@link Cluster.associate} gives. */
export function roleOf(serviceAccount: string): string {
  return `arn:aws:iam::111122223333:role/${serviceAccount}`;
}

/** What one request came to. */
export interface Reply {
  /** 0: the client gave up, or the connection ended without an answer. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
  readonly body: any;
  /** Milliseconds from the request to the answer, or to giving up. */
  readonly took: number;
  /**
   * Of the connection, where there was no answer: `TIMEOUT` when the client gave up, `CUT_OFF` when
   * the connection ended within the answer.
   */
  readonly error?: string;
}

/** How {@link ask} asks. */
export interface AskOptions {
  /** Milliseconds until the client hangs up; default 30 s. */
  readonly timeout?: number;
  /** The address to come from; each of 127.0.0.0/8 is a source of its own to the broker. */
  readonly from?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Asks for credentials once, on a connection of its own, and hangs up when it takes too long. */
export function ask(
  broker: Pick<BrokerProcess, 'port'>,
  token: string,
  { timeout = 30_000, from = '127.0.0.1', headers = {} }: AskOptions = {},
): Promise<Reply> {
  const started = performance.now();
  const { promise, resolve } = Promise.withResolvers<Reply>();
  const asked = request({
    host: '127.0.0.1',
    port: broker.port,
    path: '/v1/credentials',
    localAddress: from,
    agent: false,
    headers: { Authorization: token, ...headers },
  });
  const failed = (error: string) =>
    resolve({ status: 0, headers: {}, body: undefined, took: performance.now() - started, error });
  const hangUp = setTimeout(() => {
    failed('TIMEOUT');
    asked.destroy();
  }, timeout);
  asked.on('error', (error: NodeJS.ErrnoException) => {
    const begun = (asked.socket?.bytesRead ?? 0) > 0;
    failed(begun ? 'CUT_OFF' : (error.code ?? error.message));
  });
  asked.on('response', (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    response.on('error', () => failed('CUT_OFF'));
    response.on('end', () => {
      const { statusCode: status = 0, headers: received } = response;
      let body: unknown;
      try {
        body = JSON.parse(text);
      } catch {
        body = text;
      }
      resolve({ status, headers: received, body, took: performance.now() - started });
    });
  });
  asked.end();
  return promise.finally(() => clearTimeout(hangUp));
}

/** How long a client waits, and how often it tries. Times in milliseconds. */
export interface Patience {
  readonly timeout: number;
  readonly tries: number;
  /** Tries in all where it is answered with an error of the server. */
  readonly triesAfterError?: number;
  readonly pause?: number;
}

/** The SDKs that pods run, as measured. */
export const SDK = {
  olderJavaScript: { timeout: 1_000, tries: 4, pause: 1_000 },
  javaScript: { timeout: 60_000, tries: 4, pause: 1_000 },
  botocore: { timeout: 2_000, tries: 3, pause: 1_000 },
  ruby: { timeout: 1_000, tries: 2, triesAfterError: 1, pause: 300 },
  /** AWS's own scale test: `curl --max-time 2`. */
  singleTry: { timeout: 2_000, tries: 1 },
} as const satisfies Record<string, Patience>;

/** A reply, and how many tries it took. */
export type Attempted = Reply & { readonly tries: number };

/** Asks as an SDK does: again after a time-out or an error of the server, until it gives up. */
export async function askAs(
  patience: Patience,
  broker: Pick<BrokerProcess, 'port'>,
  token: string,
  options: Omit<AskOptions, 'timeout'> = {},
): Promise<Attempted> {
  const { timeout, tries: most, triesAfterError = most, pause: between = 0 } = patience;
  for (let tries = 1; ; tries += 1) {
    const reply = await ask(broker, token, { ...options, timeout });
    const allowed = reply.status === 0 ? most : triesAfterError;
    if (reply.status === 200 || tries >= allowed) return { ...reply, tries };
    await pause(between);
  }
}

/** Asks until there are credentials, a while after each refusal; for `within` milliseconds. */
export async function askUntilGiven(
  broker: Pick<BrokerProcess, 'port'>,
  token: string,
  { within, every, ...options }: AskOptions & { readonly within: number; readonly every: number },
): Promise<Attempted> {
  const started = performance.now();
  for (let tries = 1; ; tries += 1) {
    const reply = await ask(broker, token, options);
    const took = performance.now() - started;
    if (reply.status === 200 || took > within) return { ...reply, took, tries };
    await pause(every);
  }
}

/** Asks until there are credentials: a machine that is busy may need longer than a client waits. */
export async function given(
  t: Test,
  broker: Pick<BrokerProcess, 'port'>,
  token: string,
): Promise<Attempted> {
  const reply = await askUntilGiven(broker, token, { within: 15_000, every: 200 });
  t.equal(reply.status, 200, 'credentials');
  return reply;
}

/** The sum of all samples of a metric. */
export async function total(broker: Pick<BrokerProcess, 'metrics'>, name: string): Promise<number> {
  const samples = [...(await broker.metrics())].filter(
    ([sample]) => sample === name || sample.startsWith(`${name}{`),
  );
  return samples.reduce((sum, [, value]) => sum + value, 0);
}

/** Waits until something holds, `within` milliseconds; whether it came to hold. */
export async function holds(
  condition: () => boolean | Promise<boolean>,
  within: number,
): Promise<boolean> {
  const deadline = performance.now() + within;
  while (!(await condition())) {
    if (performance.now() > deadline) return false;
    await pause(20);
  }
  return true;
}
