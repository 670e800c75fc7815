import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { connectSimulator, type RemoteSimulator } from '../control-client.ts';
import { freePort } from '../free-port.ts';
import { traceEnvironment } from '../traces/collect-traces.ts';
import { brokerRequests } from './broker-requests.ts';
import { type Program, startProgram } from './program.ts';
import { pasteable, type ServiceAccountReport } from './report.ts';
import { type PodResult, runPod } from './run-pod.ts';
import { loopbackStage, namespaceStage, type PodPlace, type Stage } from './stage.ts';
import { causeTrouble, TROUBLE_RENEWAL } from './trouble.ts';

const CLUSTER = 'demo';
const NAMESPACE = 'demo';
/** How long the simulated EKS Auth takes; about what the real one does. */
const EKS_AUTH_LATENCY = '80ms';

/** What to run. */
export interface DemoOptions {
  /** How many to start. */
  readonly pods: number;
  /** At most as many as pods. */
  readonly serviceAccounts: number;
  /** Where to collect the broker's traces; undefined: there are none. */
  readonly traceFile: string | undefined;
  /** On network namespaces; else on loopback. */
  readonly netns: boolean;
  /** Shows a line of progress. */
  readonly say: (line: string) => void;
  /** Ends it early. */
  readonly signal: AbortSignal;
}

/** A demo whose pods are done and whose broker still runs. */
export interface Demo {
  readonly reports: readonly ServiceAccountReport[];
  /** Where everything is, and what makes a shell one of the pods. */
  readonly instructions: string;
  /** Rejects when the broker or the simulator is lost. */
  readonly lost: Promise<never>;
  /** Stops everything and leaves nothing behind. */
  close(): Promise<void>;
}

/** Where a broker of the demo runs. */
interface BrokerPlace {
  /** Of its files. */
  readonly name: string;
  /** That say where it listens, and more. */
  readonly flags: readonly string[];
  readonly probePort: number;
}

/** A pod to be, and its environment as the webhook makes it. */
interface PreparedPod {
  readonly name: string;
  readonly place: PodPlace;
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Starts a simulated EKS and a broker, creates associations, and runs pods.
 *
 * @throws Error that says what could not be started; the signal's reason, where it came first.
 */
export async function runDemo(options: DemoOptions): Promise<Demo> {
  const opened = new AsyncDisposableStack();
  try {
    const folder = await mkdtemp(join(tmpdir(), 'pod-identity-demo-'));
    opened.defer(() => rm(folder, { recursive: true, force: true }));
    const stage = await (options.netns ? namespaceStage() : loopbackStage());
    opened.defer(() => stage.close());

    const eks = await startSimulated(stage, folder, options);
    opened.defer(() => eks.program.stop());
    const broker = await startBroker(stage, folder, eks.simulator, options);
    options.say(`broker         ${stage.brokerAddresses}`);
    opened.defer(() => broker.stop());
    const lost = Promise.race([eks.program.lost, broker.lost]);
    lost.catch(() => undefined);

    const runs = new PodRuns(stage, eks.simulator, options);
    const reports = await Promise.race([lost, runs.runAll()]);
    if (options.traceFile !== undefined) await tracedTrouble(stage, folder, eks.simulator, options);
    return {
      reports,
      lost,
      instructions: await instructions(stage, folder, runs.first as PreparedPod),
      close: () => opened.disposeAsync(),
    };
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

async function startSimulated(
  stage: Stage,
  folder: string,
  { say, signal, traceFile }: DemoOptions,
) {
  const { host, port } = stage.simulator;
  const url = await stage.reach(port);
  const program = await startProgram({
    args: [
      'simulate',
      `--host=${host}`,
      `--port=${port}`,
      `--cluster-name=${CLUSTER}`,
      `--latency=${EKS_AUTH_LATENCY}`,
      `--token-directory=${join(folder, 'pods')}`,
      ...(traceFile === undefined ? [] : [`--trace-file=${traceFile}`]),
    ],
    environment: {},
    exec: stage.exec,
    folder,
    logFile: join(folder, 'simulator.log'),
    readyUrl: `${url}/_simulator/`,
    signal,
  });
  say(`simulated EKS  ${stage.simulatorUrl}, cluster ${CLUSTER}`);
  return { program, simulator: await connectSimulator(url) };
}

async function startBroker(
  stage: Stage,
  folder: string,
  simulator: RemoteSimulator,
  { signal, traceFile }: DemoOptions,
  place: BrokerPlace = { name: 'broker', flags: stage.brokerFlags, probePort: stage.probePort },
): Promise<Program> {
  const { accessKeyId, secretAccessKey, sessionToken } = simulator.nodeCredentials;
  const { name, flags, probePort } = place;
  return startProgram({
    args: [
      'server',
      `--cluster-name=${CLUSTER}`,
      `--endpoint=${simulator.url}`,
      `--token-issuer=${simulator.issuer}`,
      // From its folder: the whole path may be longer than a socket's can be (unix(7)).
      `--admin-socket=${name}.sock`,
      ...flags,
    ],
    environment: {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      ...(sessionToken !== undefined && { AWS_SESSION_TOKEN: sessionToken }),
      AWS_REGION: simulator.region,
      ...(traceFile !== undefined && traceEnvironment(simulator.url)),
    },
    exec: stage.exec,
    folder,
    logFile: join(folder, `${name}.log`),
    readyUrl: `${await stage.reach(probePort)}/readyz`,
    signal,
  });
}

/** What has no place in the table goes to a broker of its own. */
async function tracedTrouble(
  stage: Stage,
  folder: string,
  simulator: RemoteSimulator,
  options: DemoOptions,
): Promise<void> {
  options.say('traces         throttling, refusals, an outage, a renewal');
  const [port, probePort, metricsPort] = [await freePort(), await freePort(), await freePort()];
  const flags = [
    '--bind-hosts=127.0.0.1',
    `--port=${port}`,
    `--probe-port=${probePort}`,
    '--metrics-address=127.0.0.1',
    `--metrics-port=${metricsPort}`,
    `--max-credential-retention-before-renewal=${TROUBLE_RENEWAL}`,
  ];
  const place = { name: 'trouble', flags, probePort };
  const broker = await startBroker(stage, folder, simulator, options, place);
  try {
    const credentialsUrl = `${await stage.reach(port)}/v1/credentials`;
    const { signal } = options;
    await causeTrouble({ simulator, namespace: NAMESPACE, credentialsUrl, signal });
  } finally {
    await broker.stop();
  }
}

/** The service accounts and their pods. */
class PodRuns {
  /** The pod that started first. */
  first: PreparedPod | undefined;
  readonly #stage: Stage;
  readonly #simulator: RemoteSimulator;
  readonly #options: DemoOptions;
  #done = 0;

  constructor(stage: Stage, simulator: RemoteSimulator, options: DemoOptions) {
    this.#stage = stage;
    this.#simulator = simulator;
    this.#options = options;
  }

  /** Creates the associations, then runs the pods, a service account after the other. */
  async runAll(): Promise<ServiceAccountReport[]> {
    const { pods, serviceAccounts, say } = this.#options;
    const { account, associations } = this.#simulator;
    const names = Array.from({ length: serviceAccounts }, (_, index) => `app-${index + 1}`);
    for (const serviceAccount of names) {
      const roleArn = `arn:aws:iam::${account}:role/${roleOf(serviceAccount)}`;
      await associations.create({ namespace: NAMESPACE, serviceAccount, roleArn });
    }
    say(`associations   ${names.length}, namespace ${NAMESPACE}, each with a role of its own`);
    const reports: ServiceAccountReport[] = [];
    for (const [index, serviceAccount] of names.entries()) {
      const share = Math.floor(pods / names.length) + (index < pods % names.length ? 1 : 0);
      reports.push(await this.#scaleUp(serviceAccount, share));
    }
    return reports;
  }

  /**
   * Runs the pods of one service account. No other pods run meanwhile, so that what the
   * broker counts from before to after are the requests of these.
   */
  async #scaleUp(serviceAccount: string, pods: number): Promise<ServiceAccountReport> {
    const before = await this.#requests();
    const expectedRole = roleOf(serviceAccount);
    const roles = new Set<string>();
    const problems: string[] = [];
    const wave = 2 * availableParallelism();
    for (let started = 0; started < pods; started += wave) {
      const results = await this.#wave(serviceAccount, Math.min(wave, pods - started));
      for (const [name, result] of results) {
        for (const role of result.roles) roles.add(role);
        const problem = problemOf(result, expectedRole);
        if (problem !== undefined) problems.push(`${NAMESPACE}/${name}: ${problem}`);
      }
    }
    const after = await this.#requests();
    const calls = await this.#simulator.audit.events({
      operation: 'AssumeRoleForPodIdentity',
      namespace: NAMESPACE,
      serviceAccount,
    });
    return {
      serviceAccount,
      expectedRole,
      roles: [...roles],
      pods,
      requests: after - before,
      calls: calls.length,
      problems,
    };
  }

  /** Runs so many pods at once. */
  async #wave(serviceAccount: string, pods: number): Promise<[string, PodResult][]> {
    const { signal, say, pods: all } = this.#options;
    const prepared: PreparedPod[] = [];
    for (let pod = 0; pod < pods; pod++) {
      signal.throwIfAborted();
      prepared.push(await this.#prepare(serviceAccount));
    }
    this.first ??= prepared[0];
    const results = await Promise.all(
      prepared.map(
        async ({ name, place, environment }): Promise<[string, PodResult]> => [
          name,
          await runPod(place, environment, signal),
        ],
      ),
    );
    signal.throwIfAborted();
    this.#done += pods;
    say(`pods           ${this.#done} of ${all} done (${serviceAccount})`);
    return results;
  }

  async #prepare(serviceAccount: string): Promise<PreparedPod> {
    const place = await this.#stage.createPod();
    const pod = await this.#simulator.kubelet.createPod({ namespace: NAMESPACE, serviceAccount });
    const webhook = await pod.environment(place.credentialsUri);
    return {
      name: pod.name,
      place,
      environment: {
        ...webhook,
        // In place of the real STS, which does not know the simulated sessions.
        AWS_ENDPOINT_URL_STS: this.#stage.simulatorUrl,
        // A container's own, so that the files of whoever runs the demo stay out of it.
        HOME: dirname(pod.tokenFile as string),
      },
    };
  }

  async #requests(): Promise<number> {
    return brokerRequests(await this.#stage.reach(this.#stage.metricsPort));
  }
}

function roleOf(serviceAccount: string): string {
  return `${serviceAccount}-role`;
}

/** What is wrong with how a pod came out. */
function problemOf({ roles, failure }: PodResult, expectedRole: string): string | undefined {
  if (failure !== undefined) return failure;
  if (roles.length === 1 && roles[0] === expectedRole) return undefined;
  return `came out as ${roles.join(' and ')} instead of ${expectedRole}`;
}

async function instructions(stage: Stage, folder: string, pod: PreparedPod): Promise<string> {
  const { metricsPort, prefix } = stage;
  return `Logs:     ${join(folder, 'broker.log')}
Metrics:  ${prefix}curl http://127.0.0.1:${metricsPort}/metrics
Status:   npm run broker -- status --admin-socket ${join(folder, 'broker.sock')}

What makes a shell the pod ${NAMESPACE}/${pod.name}, to paste:

${pasteable(pod.environment, pod.place.prefix)}
`;
}
