import type { RemotePod } from '../../src/simulator/control-client.ts';
import { BrokenRunError } from '../harness/broken-run.ts';
import { type Cluster, clusterFor } from '../harness/cluster.ts';
import { createPods } from '../harness/pods.ts';
import { peakResidentKiB, residentKiB } from '../harness/process-stats.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { startTarget, type Target, type Variant, variants } from '../harness/target.ts';
import { type Client, runClients } from '../load/clients.ts';
import { podAddress } from '../load/one-try.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { densityReport } from './density-report.ts';

/** Every process: longer patience than any client has, and back a second after a 503. */
const PROCESS = { startAt: 0, patience: 30_000, tries: 10, pause: 1_000 } satisfies Partial<Client>;

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

/** One combination with one variant. */
export interface DensityFigures extends Combination {
  readonly variant: Variant;
  readonly first: Wave;
  /** Everybody again, after every token was replaced. */
  readonly rotated: Wave;
  readonly residentMiB: number | undefined;
  readonly peakResidentMiB: number | undefined;
}

/** A full node asks at once, and again after all its tokens have changed. */
export const density: Scenario = {
  name: 'density',
  shows: 'calls to EKS Auth and the time to the last pod, when all pods of a node ask at once',
  async run(bench) {
    const figures: DensityFigures[] = [];
    // Beside a peer everything is done twice, A B A B.
    const rounds = bench.peer === undefined ? 1 : 2;
    for (const combination of bench.config.density.combinations) {
      for (let round = 0; round < rounds; round += 1) {
        for (const variant of variants(bench)) {
          figures.push(await nodeOfPods(bench, combination, variant));
        }
      }
    }
    return densityReport(figures);
  },
};

/** One node: all its pods ask at once, and again with new tokens. */
export async function nodeOfPods(
  bench: Bench,
  combination: Combination,
  variant: Variant,
): Promise<DensityFigures> {
  const { config, progress } = bench;
  await using cluster = await clusterFor(bench, { latency: config.density.latency });
  const { simulator } = cluster;
  await using target = await startTarget(bench, variant, simulator);
  const what = `${combination.pods} pods × ${combination.processes}, ${variant}`;
  progress(`${what}: creating pods`);
  const pods = await createPods(simulator, combination);
  progress(`${what}: all ask at once`);
  const first = await wave(cluster, target, pods, combination.processes);
  for (const pod of pods) await pod.rotate();
  progress(`${what}: all ask again with new tokens`);
  const rotated = await wave(cluster, target, pods, combination.processes);
  const { pid } = target;
  const memory = {
    residentMiB: pid === undefined ? undefined : residentKiB(pid) / 1_024,
    peakResidentMiB: pid === undefined ? undefined : peakResidentKiB(pid) / 1_024,
  };
  for (const pod of pods) await pod.delete();
  return { ...combination, variant, first, rotated, ...memory };
}

/** Every process of every pod asks at once, each on a connection of its own. */
async function wave(
  { simulator }: Cluster,
  { address }: Target,
  pods: readonly RemotePod[],
  processes: number,
): Promise<Wave> {
  const before = (await simulator.counts()).assumeRole.calls;
  const asking = Array.from({ length: processes }, () => pods).flat();
  const results = await runClients(
    address,
    asking.map(({ token }, index) => ({
      ...PROCESS,
      token,
      from: podAddress(index % pods.length),
    })),
  );
  const calls = (await simulator.counts()).assumeRole.calls - before;
  const failed = results.find(({ status }) => status !== 200);
  if (failed !== undefined) {
    const { status, failure, body } = failed;
    throw new BrokenRunError(`a pod got no credentials: ${status} ${failure ?? body}`);
  }
  await checkAnswers(
    simulator,
    results.map(({ body }, index) => ({ pod: asking[index] as RemotePod, body })),
  );
  return {
    calls,
    lastAfterMs: Math.max(...results.map(({ endedAt }) => endedAt)),
    told503: results.reduce((sum, { told503 }) => sum + told503, 0),
  };
}
