import type { RemotePod } from '../../src/simulator/control-client.ts';
import { countCalls } from '../harness/calls.ts';
import { clusterFor } from '../harness/cluster.ts';
import { createPods } from '../harness/pods.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { checkFailures } from '../harness/right-failures.ts';
import { startTarget, type Variant, variants } from '../harness/target.ts';
import { type ClientResult, runClients } from '../load/clients.ts';
import { podAddress } from '../load/one-try.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { stormReport } from './storm-report.ts';

/** The storm with one variant. */
export interface StormFigures {
  readonly variant: Variant;
  readonly pods: number;
  readonly succeeded: number;
  readonly calls: number;
  readonly throttled: number;
  readonly tries: readonly StormTry[];
}

/** One pod's only try. Milliseconds; `at` is when it began. */
export interface StormTry {
  readonly at: number;
  readonly took: number;
  readonly ok: boolean;
}

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
    const figures: StormFigures[] = [];
    const rounds = bench.peer === undefined ? 1 : 2;
    for (let round = 0; round < rounds; round += 1) figures.push(...(await everybody(bench)));
    return stormReport(figures, bench.config.storm);
  },
};

async function everybody(bench: Bench): Promise<StormFigures[]> {
  const { config, progress } = bench;
  const { pods: count, perSecond, quota, latency, serviceAccounts } = config.storm;
  await using cluster = await clusterFor(bench, { latency, quota });
  const { simulator } = cluster;
  progress(`creating ${count} pods`);
  const pods = await createPods(simulator, { pods: count, serviceAccounts });
  const figures: StormFigures[] = [];
  for (const variant of variants(bench)) {
    await using target = await startTarget(bench, variant, simulator);
    progress(`${variant}: ${count} pods at ${perSecond}/s`);
    // Whatever the variant before has left of the quota is filled up by now.
    await new Promise((resolve) => setTimeout(resolve, (quota.burst / quota.rate) * 1_000));
    const accounts = [...new Set(pods.map(({ serviceAccount }) => serviceAccount))];
    const before = await countCalls(simulator, accounts);
    const results = await runClients(
      target.address,
      pods.map(({ token }, index) => ({
        token,
        startAt: (index * 1_000) / perSecond,
        patience: config.storm.patienceMs,
        tries: 1,
        pause: 0,
        from: podAddress(index),
      })),
    );
    const after = await countCalls(simulator, accounts);
    checkFailures(variant, results);
    await checkAnswers(simulator, answersOf(pods, results));
    figures.push({
      variant,
      pods: count,
      succeeded: results.filter(({ status }) => status === 200).length,
      calls: after.calls - before.calls,
      throttled: after.throttled - before.throttled,
      tries: results.map(({ status, startedAt, endedAt }) => ({
        at: startedAt,
        took: endedAt - startedAt,
        ok: status === 200,
      })),
    });
  }
  for (const pod of pods) await pod.delete();
  return figures;
}

function answersOf(pods: readonly RemotePod[], results: readonly ClientResult[]) {
  return results.flatMap(({ status, body }, index) =>
    status === 200 ? [{ pod: pods[index] as RemotePod, body }] : [],
  );
}
