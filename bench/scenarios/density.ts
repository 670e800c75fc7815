import type { RemotePod } from '../../src/simulator/control-client.ts';
import { BrokenRunError } from '../harness/broken-run.ts';
import { callsBetween, countCalls } from '../harness/calls.ts';
import { clusterFor } from '../harness/cluster.ts';
import { accountsOf, createPods } from '../harness/pods.ts';
import { peakResidentKiB, residentKiB } from '../harness/process-stats.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { inTurns, type Variant, variants } from '../harness/variants.ts';
import { type Client, runClients } from '../load/clients.ts';
import { podAddress } from '../load/one-try.ts';
import type { Bench, Scenario } from '../scenario.ts';
import type { Combination, DensityFigures, DensityRound, Wave } from './density-figures.ts';
import { densityReport } from './density-report.ts';

/** Every process: longer patience than any client has, and back a second after a 503. */
const PROCESS = { startAt: 0, patience: 30_000, tries: 10, pause: 1_000 } satisfies Partial<Client>;

/** A full node asks at once, and again after all its tokens have changed. */
export const density: Scenario = {
  name: 'density',
  shows: 'calls to EKS Auth and the time to the last pod, when all pods of a node ask at once',
  async run(bench) {
    const figures: DensityFigures[] = [];
    for (const combination of bench.config.density.combinations) {
      const all = variants(bench);
      const rounds = await inTurns(bench, all, (variant) =>
        nodeOfPods(bench, combination, variant),
      );
      for (const [index, variant] of all.entries()) {
        figures.push({ ...combination, variant, rounds: rounds[index] ?? [] });
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
): Promise<DensityRound> {
  const { config, progress } = bench;
  const { latency, quota } = config.density;
  await using cluster = await clusterFor(bench, { latency, quota });
  const { simulator } = cluster;
  await using target = await startTarget(bench, variant, simulator);
  const what = `${combination.pods} pods × ${combination.processes}, ${variant}`;
  progress(`${what}: creating pods`);
  const pods = await createPods(simulator, combination);
  const askAll = async (): Promise<Wave> => {
    const accounts = accountsOf(pods);
    const before = await countCalls(simulator, accounts);
    const { answers, ...asked } = await wave(target, pods, combination.processes);
    await checkAnswers(simulator, answers);
    return { ...callsBetween(before, await countCalls(simulator, accounts)), ...asked };
  };
  progress(`${what}: all ask at once`);
  const first = await askAll();
  for (const pod of pods) await pod.rotate();
  progress(`${what}: all ask again with new tokens`);
  const rotated = await askAll();
  const { pid } = target;
  const memory = {
    residentMiB: pid === undefined ? undefined : residentKiB(pid) / 1_024,
    peakResidentMiB: pid === undefined ? undefined : peakResidentKiB(pid) / 1_024,
  };
  for (const pod of pods) await pod.delete();
  return { first, rotated, ...memory };
}

/**
 * Every process of every pod asks at once, each on a connection of its own.
 *
 * @throws BrokenRunError when one of ours is left without credentials.
 */
async function wave({ address, variant }: Target, pods: readonly RemotePod[], processes: number) {
  const asking = Array.from({ length: processes }, () => pods).flat();
  const results = await runClients(
    address,
    asking.map(({ token }, index) => ({
      ...PROCESS,
      token,
      from: podAddress(index % pods.length),
    })),
  );
  const failed = results.filter(({ status }) => status !== 200);
  if (variant !== 'peer' && failed[0] !== undefined) {
    const { status, failure, body } = failed[0];
    throw new BrokenRunError(`a pod got no credentials: ${status} ${failure ?? body}`);
  }
  const served = results.filter(({ status }) => status === 200);
  return {
    lastAfterMs:
      served.length === 0 ? undefined : Math.max(...served.map(({ endedAt }) => endedAt)),
    told503: results.reduce((sum, { told503 }) => sum + told503, 0),
    unserved: failed.length,
    answers: results.flatMap(({ status, body }, index) =>
      status === 200 ? [{ pod: asking[index] as RemotePod, body }] : [],
    ),
  };
}
