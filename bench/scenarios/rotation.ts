import { setTimeout as pause } from 'node:timers/promises';
import { BrokenRunError } from '../harness/broken-run.ts';
import { callsSince, countCalls, cumulative } from '../harness/calls.ts';
import { clusterFor } from '../harness/cluster.ts';
import { createPods } from '../harness/pods.ts';
import { checkAnswers, type PodAnswer } from '../harness/right-answers.ts';
import { percentile } from '../harness/statistics.ts';
import { startTarget, VARIANT_LABEL, type Variant, variants } from '../harness/target.ts';
import { type ClientResult, runClients } from '../load/clients.ts';
import { podAddress } from '../load/one-try.ts';
import { distribution } from '../report/distribution.ts';
import { count, milliseconds } from '../report/format.ts';
import type { Bench, Scenario } from '../scenario.ts';

/** One variant while all tokens rotate. */
interface RotationFigures {
  readonly variant: Variant;
  readonly requests: number;
  readonly calls: number;
  /** When the calls were made, in milliseconds. */
  readonly callTimes: readonly number[];
  readonly latencies: readonly number[];
}

const CLIENT = { startAt: 0, patience: 10_000, tries: 5, pause: 1_000 };

/** Every pod's token is replaced within a minute, and its processes ask with the new one. */
export const rotation: Scenario = {
  name: 'rotation',
  shows: 'calls and latencies while all tokens of a node rotate within a minute',
  async run(bench) {
    const { seconds, pods } = bench.config.rotation;
    bench.progress(`${pods} pods rotate their tokens within ${seconds} s, all scopes at once`);
    const figures = await Promise.all(variants(bench).map((variant) => rotate(bench, variant)));
    const shared = figures.find(({ variant }) => variant === 'service-account');
    return {
      headlines: [
        `all tokens of ${pods} pods rotate: ${shared?.calls} calls to EKS Auth for ${count(shared?.requests ?? 0)} requests`,
      ],
      tables: [
        {
          title: `rotation: ${pods} pods × ${bench.config.rotation.processes} get new tokens within ${seconds} s`,
          columns: ['', 'requests', 'calls', 'p50', 'p99', 'most'],
          rows: figures.map((one) => [
            VARIANT_LABEL[one.variant],
            count(one.requests),
            count(one.calls),
            ...[50, 99, 100].map((part) => milliseconds(percentile(one.latencies, part))),
          ]),
          notes: [
            'The scopes ran at the same time, each with a broker and an EKS Auth of its own.',
          ],
        },
      ],
      charts: [
        {
          kind: 'lines',
          title: 'Calls to EKS Auth while all tokens of a node rotate',
          x: { label: 'time', unit: 's' },
          y: { label: 'calls so far' },
          lines: figures.map(({ variant, callTimes }) => ({
            label: VARIANT_LABEL[variant],
            colour: variant,
            points: cumulative(callTimes, seconds * 1_000),
          })),
        },
        {
          kind: 'lines',
          title: 'How long requests with a new token take',
          x: { label: 'percentile', scale: 'percentile' },
          y: { label: 'latency', unit: 'ms', scale: 'log' },
          lines: figures.map(({ variant, latencies }) => ({
            label: VARIANT_LABEL[variant],
            colour: variant,
            points: distribution(latencies),
          })),
        },
      ],
      figures: figures.map(({ variant, requests, calls, latencies }) => ({
        variant,
        requests,
        calls,
        p50: percentile(latencies, 50),
        p99: percentile(latencies, 99),
        most: latencies.at(-1),
      })),
    };
  },
};

async function rotate(bench: Bench, variant: Variant): Promise<RotationFigures> {
  const { processes, seconds, latency, quota, ...plan } = bench.config.rotation;
  await using cluster = await clusterFor(bench, { latency, quota });
  const { simulator } = cluster;
  await using target = await startTarget(bench, variant, simulator);
  const pods = await createPods(simulator, plan);
  const accounts = [...new Set(pods.map(({ serviceAccount }) => serviceAccount))];
  const ask = (token: string, index: number) =>
    runClients(
      target.address,
      Array.from({ length: processes }, () => ({ ...CLIENT, token, from: podAddress(index) })),
    );
  // Everybody has credentials before; pods of a quota are not in each other's way.
  for (const [index, { token }] of pods.entries()) expectAnswers(await ask(token, index));
  const before = (await countCalls(simulator, accounts)).calls;
  const since = Date.now();
  const answers: PodAnswer[] = [];
  const latencies: number[] = [];
  await Promise.all(
    pods.map(async (pod, index) => {
      await pause((index / pods.length) * seconds * 1_000);
      const results = await ask(await pod.rotate(), index);
      expectAnswers(results);
      for (const { body, startedAt, endedAt } of results) {
        answers.push({ pod, body });
        latencies.push(endedAt - startedAt);
      }
    }),
  );
  await checkAnswers(simulator, answers);
  const calls = await callsSince(simulator, accounts, since);
  return {
    variant,
    requests: answers.length,
    calls: (await countCalls(simulator, accounts)).calls - before,
    callTimes: calls.map(({ time }) => time - since),
    latencies: latencies.toSorted((left, right) => left - right),
  };
}

function expectAnswers(results: readonly ClientResult[]): void {
  for (const { status, failure, body } of results) {
    if (status !== 200) {
      throw new BrokenRunError(`a pod got no credentials: ${status} ${failure ?? body}`);
    }
  }
}
