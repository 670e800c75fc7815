import type { SessionScope } from '../../src/config/config.ts';
import type { RemotePod } from '../../src/simulator/control-client.ts';
import { BrokenRunError } from '../harness/broken-run.ts';
import { type Broker, startBroker } from '../harness/broker.ts';
import { type Cluster, startCluster } from '../harness/cluster.ts';
import { createPods } from '../harness/pods.ts';
import { peakResidentKiB, residentKiB } from '../harness/process-stats.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { tryOnce } from '../load/one-try.ts';
import { type Bench, SCOPES, type Scenario } from '../scenario.ts';
import { densityReport } from './density-report.ts';

/** Longer than any client waits, so that nobody gives up before the broker does. */
const PATIENCE = 30_000;
/** How often a client that was told to come back does so, before it has failed. */
const MOST_TRIES = 10;

/** How many pods of what ask at once. */
export interface Combination {
  readonly pods: number;
  readonly processes: number;
  readonly serviceAccounts: number;
}

/** What all processes of all pods asking at once came to. */
export interface Wave {
  readonly calls: number;
  readonly lastAfterMs: number;
  /** Answers 503 that a client had to come back after. */
  readonly told503: number;
}

/** One combination in one scope. */
export interface DensityFigures extends Combination {
  readonly scope: SessionScope;
  readonly first: Wave;
  /** Everybody again, after every token was replaced. */
  readonly rotated: Wave;
  readonly residentMiB: number;
  readonly peakResidentMiB: number;
}

/** A full node asks at once, and again after all its tokens have changed. */
export const density: Scenario = {
  name: 'density',
  shows: 'calls to EKS Auth and the time to the last pod, when all pods of a node ask at once',
  async run(bench) {
    const figures: DensityFigures[] = [];
    for (const combination of bench.config.density.combinations) {
      for (const scope of SCOPES) figures.push(await measure(bench, combination, scope));
    }
    return densityReport(figures);
  },
};

async function measure(
  { config, cores, progress }: Bench,
  combination: Combination,
  scope: SessionScope,
): Promise<DensityFigures> {
  const { latency } = config.density;
  await using cluster = await startCluster({ seed: config.seed, latency });
  await using broker = await startBroker(cluster.simulator, {
    core: cores?.target,
    flags: [`--session-scope=${scope}`],
  });
  const { pods: count, processes } = combination;
  progress(`${count} pods × ${processes}, ${scope}: creating pods`);
  const pods = await createPods(cluster.simulator, combination);
  progress(`${count} pods × ${processes}, ${scope}: all ask at once`);
  const first = await wave(cluster, broker, pods, processes);
  await cluster.simulator.kubelet.rotateAll();
  const rotatedPods = await cluster.simulator.kubelet.pods();
  progress(`${count} pods × ${processes}, ${scope}: all ask again with new tokens`);
  const rotated = await wave(cluster, broker, rotatedPods, processes);
  return {
    ...combination,
    scope,
    first,
    rotated,
    residentMiB: residentKiB(broker.pid) / 1_024,
    peakResidentMiB: peakResidentKiB(broker.pid) / 1_024,
  };
}

/** Every process of every pod asks at once, each on a connection of its own. */
async function wave(
  { simulator }: Cluster,
  broker: Broker,
  pods: readonly RemotePod[],
  processes: number,
): Promise<Wave> {
  const before = (await simulator.counts()).assumeRole.calls;
  const clients = Array.from({ length: processes }, () => pods).flat();
  let told503 = 0;
  const started = performance.now();
  let last = started;
  const answers = await Promise.all(
    clients.map(async (pod) => {
      for (let attempt = 1; ; attempt += 1) {
        const { status, body, failure } = await tryOnce(broker.port, pod.token, {
          patience: PATIENCE,
        });
        if (status === 200) {
          last = Math.max(last, performance.now());
          return { pod, body };
        }
        if (status !== 503 || attempt === MOST_TRIES) {
          throw new BrokenRunError(`a pod got no credentials: ${status} ${failure ?? body}`);
        }
        told503 += 1;
        await new Promise((resolve) => setTimeout(resolve, 1_000));
      }
    }),
  );
  const calls = (await simulator.counts()).assumeRole.calls - before;
  await checkAnswers(simulator, answers);
  return { calls, lastAfterMs: last - started, told503 };
}
