import type { RemotePod } from '../../src/simulator/control-client.ts';
import { callsBetween, countCalls } from '../harness/calls.ts';
import { type Cluster, clusterFor } from '../harness/cluster.ts';
import { accountsOf, createPods } from '../harness/pods.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { checkFailures } from '../harness/right-failures.ts';
import { startTarget } from '../harness/target.ts';
import { roundsOf, type Variant, variants } from '../harness/variants.ts';
import { type ClientResult, runClients } from '../load/clients.ts';
import { podAddress } from '../load/one-try.ts';
import type { Bench, Scenario } from '../scenario.ts';
import type { StormRound } from './storm-figures.ts';
import { stormReport } from './storm-report.ts';

/**
 * AWS's own scale test for its agent: pods of one service account created at a steady rate,
 * one try each.
 *
 * @see https://github.com/awslabs/eks-perf-tests
 */
export const storm: Scenario = {
  name: 'storm',
  shows: "AWS's scale test: thousands of pods of one service account, one try each, a low quota",
  async run(bench) {
    const { latency, quota, pods: count, serviceAccounts } = bench.config.storm;
    const figures = variants(bench).map((variant) => ({ variant, rounds: [] as StormRound[] }));
    for (let round = 0; round < roundsOf(bench); round += 1) {
      await using cluster = await clusterFor(bench, { latency, quota });
      bench.progress(`creating ${count} pods`);
      const pods = await createPods(cluster.simulator, { pods: count, serviceAccounts });
      for (const { variant, rounds } of figures) {
        rounds.push(await withVariant(bench, variant, cluster, pods));
      }
      for (const pod of pods) await pod.delete();
    }
    return stormReport(figures, bench.config.storm);
  },
};

async function withVariant(
  bench: Bench,
  variant: Variant,
  { simulator }: Cluster,
  pods: readonly RemotePod[],
): Promise<StormRound> {
  const { perSecond, quota, patienceMs } = bench.config.storm;
  await using target = await startTarget(bench, variant, simulator);
  bench.progress(`${variant}: ${pods.length} pods at ${perSecond}/s`);
  // Set anew, the quota is full, whatever the variant before has left of it.
  await simulator.eksAuth.set({ quota });
  const accounts = accountsOf(pods);
  const before = await countCalls(simulator, accounts);
  const results = await runClients(
    target.address,
    pods.map(({ token }, index) => ({
      token,
      startAt: (index * 1_000) / perSecond,
      patience: patienceMs,
      tries: 1,
      pause: 0,
      from: podAddress(index),
    })),
  );
  const after = await countCalls(simulator, accounts);
  checkFailures(variant, results);
  await checkAnswers(simulator, answersOf(pods, results));
  return {
    ...callsBetween(before, after),
    tries: results.map(({ status, startedAt, endedAt }, index) => ({
      at: (index * 1_000) / perSecond,
      took: endedAt - startedAt,
      ok: status === 200,
    })),
  };
}

function answersOf(pods: readonly RemotePod[], results: readonly ClientResult[]) {
  return results.flatMap(({ status, body }, index) =>
    status === 200 ? [{ pod: pods[index] as RemotePod, body }] : [],
  );
}
