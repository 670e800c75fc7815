import { setTimeout as pause } from 'node:timers/promises';
import type { RemotePod } from '../../src/simulator/control-client.ts';
import { BrokenRunError } from '../harness/broken-run.ts';
import { callsSince, countCalls, cumulative } from '../harness/calls.ts';
import { clusterFor } from '../harness/cluster.ts';
import { accountsOf, createPods, inParallel } from '../harness/pods.ts';
import { checkAnswers, type PodAnswer } from '../harness/right-answers.ts';
import { percentile } from '../harness/statistics.ts';
import { startTarget } from '../harness/target.ts';
import {
  type Measured,
  sideBySideNote,
  sideBySideWords,
  VARIANT_LABEL,
  type Variant,
  variantsSideBySide,
} from '../harness/variants.ts';
import { type ClientResult, runClients } from '../load/clients.ts';
import { podAddress } from '../load/one-try.ts';
import { distribution } from '../report/distribution.ts';
import { count, milliseconds } from '../report/format.ts';
import { medianOf, overRounds } from '../report/rounds.ts';
import type { Bench, Scenario } from '../scenario.ts';

/** One variant while all tokens rotate, once. */
interface RotationRound {
  readonly requests: number;
  /** Requests without credentials in the end: only a peer may leave any. */
  readonly unserved: number;
  readonly calls: number;
  /** When the calls were made, in milliseconds. */
  readonly callTimes: readonly number[];
  /** Of requests with credentials, in ascending order. */
  readonly latencies: readonly number[];
}

/** Pods that ask at the same time before their tokens rotate. */
const ASK_AT_ONCE = 4;

const CLIENT = { startAt: 0, patience: 10_000, tries: 5, pause: 1_000 };

/** Every pod's token is replaced within a minute, and its processes ask with the new one. */
export const rotation: Scenario = {
  name: 'rotation',
  shows: 'calls and latencies while all tokens of a node rotate within a minute',
  mostlyWaits: true,
  async run(bench) {
    const { seconds, pods, processes } = bench.config.rotation;
    bench.progress(
      `${pods} pods rotate their tokens within ${seconds} s, ${sideBySideWords(bench)}`,
    );
    const figures = await variantsSideBySide(bench, (variant) => rotate(bench, variant));
    return {
      headlines: [headline(figures, pods)],
      tables: [
        {
          title: `rotation: ${pods} pods × ${processes} get new tokens within ${seconds} s`,
          columns: ['', 'requests', 'without credentials', 'calls', 'p50', 'p99', 'most'],
          rows: figures.map(({ variant, rounds }) => [
            VARIANT_LABEL[variant],
            ...(['requests', 'unserved', 'calls'] as const).map((name) =>
              overRounds(
                rounds.map((round) => round[name]),
                count,
              ),
            ),
            ...[50, 99, 100].map((part) =>
              overRounds(
                rounds.map(({ latencies }) =>
                  latencies.length === 0 ? undefined : percentile(latencies, part),
                ),
                milliseconds,
              ),
            ),
          ]),
          notes: [sideBySideNote(bench)],
        },
      ],
      charts: [
        {
          kind: 'lines',
          title: 'Calls to EKS Auth while all tokens of a node rotate',
          x: { label: 'time', unit: 's' },
          y: { label: 'calls so far' },
          lines: figures.map(({ variant, rounds }) => ({
            label: VARIANT_LABEL[variant],
            colour: variant,
            points: cumulative(
              rounds.map(({ callTimes }) => callTimes),
              seconds * 1_000,
            ),
          })),
        },
        {
          kind: 'lines',
          title: 'How long requests with a new token take',
          x: { label: 'percentile', scale: 'percentile' },
          y: { label: 'latency', unit: 'ms', scale: 'log' },
          lines: figures.map(({ variant, rounds }) => ({
            label: VARIANT_LABEL[variant],
            colour: variant,
            points: distribution(rounds.flatMap(({ latencies }) => latencies)),
          })),
        },
      ],
      figures: figures.map(({ variant, rounds }) => ({
        variant,
        rounds: rounds.map(({ requests, unserved, calls, latencies }) => ({
          requests,
          unserved,
          calls,
          p50: percentile(latencies, 50),
          p99: percentile(latencies, 99),
          most: latencies.at(-1),
        })),
      })),
    };
  },
};

function headline(figures: readonly Measured<RotationRound>[], pods: number): string {
  const shared = figures.find(({ variant }) => variant === 'service-account')?.rounds ?? [];
  const [calls = 0, requests = 0] = [
    medianOf(shared, (round) => round.calls),
    medianOf(shared, (round) => round.requests),
  ];
  return `all tokens of ${pods} pods rotate: ${count(calls)} calls to EKS Auth for ${count(requests)} requests`;
}

async function rotate(bench: Bench, variant: Variant): Promise<RotationRound> {
  const { processes, seconds, latency, quota, ...plan } = bench.config.rotation;
  await using cluster = await clusterFor(bench, { latency, quota });
  const { simulator } = cluster;
  await using target = await startTarget(bench, variant, simulator);
  const pods = await createPods(simulator, plan);
  const accounts = accountsOf(pods);
  const ask = async (token: string, index: number): Promise<ClientResult[]> => {
    const results = await runClients(
      target.address,
      Array.from({ length: processes }, () => ({ ...CLIENT, token, from: podAddress(index) })),
    );
    if (variant !== 'peer') expectAnswers(results);
    return results;
  };
  // Everybody has credentials before. So few at a time leave something of a usual quota: once EKS
  // Auth has throttled, the broker would go on calling at a slower pace.
  await inParallel(
    pods.length,
    (index) => ask((pods[index] as RemotePod).token, index),
    ASK_AT_ONCE,
  );
  const before = (await countCalls(simulator, accounts)).calls;
  const since = Date.now();
  const answers: PodAnswer[] = [];
  const latencies: number[] = [];
  await Promise.all(
    pods.map(async (pod, index) => {
      await pause((index / pods.length) * seconds * 1_000);
      for (const { status, body, startedAt, endedAt } of await ask(await pod.rotate(), index)) {
        if (status !== 200) continue;
        answers.push({ pod, body });
        latencies.push(endedAt - startedAt);
      }
    }),
  );
  await checkAnswers(simulator, answers);
  const calls = await callsSince(simulator, accounts, since);
  const requests = pods.length * processes;
  return {
    requests,
    unserved: requests - answers.length,
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
