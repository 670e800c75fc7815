import { setTimeout as pause } from 'node:timers/promises';
import type { AuditEvent } from '../../src/simulator/audit.ts';
import { callsSince, cumulative } from '../harness/calls.ts';
import { clusterFor } from '../harness/cluster.ts';
import { createServiceAccounts, NAMESPACE } from '../harness/pods.ts';
import { residentKiB } from '../harness/process-stats.ts';
import { checkAnswers, type PodAnswer } from '../harness/right-answers.ts';
import { checkFailures } from '../harness/right-failures.ts';
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
import { count } from '../report/format.ts';
import { medianOf, overRounds } from '../report/rounds.ts';
import type { Bench, Scenario } from '../scenario.ts';

/** One variant under jobs that come and go, once. */
interface ChurnRound {
  readonly pods: number;
  readonly served: number;
  readonly calls: number;
  /** Calls for a session none of whose pods was there any more. */
  readonly callsForGone: number;
  readonly callTimes: readonly number[];
  readonly residentMiB: { readonly before: number; readonly after: number } | undefined;
}

/** When a pod was there. */
interface Life {
  readonly name: string;
  readonly serviceAccount: string;
  readonly from: number;
  readonly to: number;
}

const CLIENT = { startAt: 0, patience: 2_000, tries: 3, pause: 1_000 };
/** A renewal that was under way when its last pod went is not held against anybody. */
const GRACE_MS = 1_000;

/** Jobs: pods that live for seconds, many a second, while credentials come due for renewal. */
export const churn: Scenario = {
  name: 'churn',
  shows: 'calls, memory and renewals for pods that are gone, under short-lived jobs',
  mostlyWaits: true,
  async run(bench) {
    const plan = bench.config.churn;
    bench.progress(
      `${plan.podsPerSecond} pods a second for ${plan.seconds} s, ${sideBySideWords(bench)}`,
    );
    const figures = await variantsSideBySide(bench, (variant) => jobs(bench, variant));
    const whole = plan.seconds + plan.lifeSeconds + plan.afterSeconds;
    return {
      headlines: headlines(figures),
      tables: [
        {
          title: `churn: ${plan.podsPerSecond} pods a second that live ${plan.lifeSeconds} s, for ${plan.seconds} s; credentials are renewed after ${plan.renewAfterSeconds} s`,
          columns: [
            '',
            'pods',
            'served',
            'calls',
            'for pods that are gone',
            'resident before',
            'after',
          ],
          rows: figures.map(({ variant, rounds }) => [
            VARIANT_LABEL[variant],
            ...(['pods', 'served', 'calls', 'callsForGone'] as const).map((name) =>
              overRounds(
                rounds.map((round) => round[name]),
                count,
              ),
            ),
            ...(['before', 'after'] as const).map((when) =>
              overRounds(
                rounds.map(({ residentMiB }) => residentMiB?.[when]),
                (mib) => `${mib.toFixed(0)} MiB`,
              ),
            ),
          ]),
          notes: [
            'Renewals come so soon to be seen here at all; by default they come after 3 hours.',
            sideBySideNote(bench),
          ],
        },
      ],
      charts: [
        {
          kind: 'lines',
          title: 'Calls to EKS Auth while jobs come and go',
          x: { label: 'time', unit: 's' },
          y: { label: 'calls so far' },
          spans: [{ from: 0, to: plan.seconds, label: 'jobs start' }],
          lines: figures.map(({ variant, rounds }) => ({
            label: VARIANT_LABEL[variant],
            colour: variant,
            points: cumulative(
              rounds.map(({ callTimes }) => callTimes),
              whole * 1_000,
            ),
          })),
        },
      ],
      figures: figures.map(({ variant, rounds }) => ({
        variant,
        rounds: rounds.map(({ callTimes, ...round }) => round),
      })),
    };
  },
};

function headlines(figures: readonly Measured<ChurnRound>[]): string[] {
  const of = (wanted: Variant, name: 'calls' | 'pods') =>
    medianOf(
      figures.find(({ variant }) => variant === wanted)?.rounds ?? [],
      (round) => round[name],
    ) ?? Number.NaN;
  const [shared, baseline] = [of('service-account', 'calls'), of('token', 'calls')];
  return [
    `jobs: ${(baseline / shared).toFixed(0)}x fewer calls than in token scope ` +
      `(${count(shared)}, not ${count(baseline)}) for ${count(of('token', 'pods'))} pods`,
  ];
}

async function jobs(bench: Bench, variant: Variant): Promise<ChurnRound> {
  const plan = bench.config.churn;
  const { latency, quota } = plan;
  await using cluster = await clusterFor(bench, { latency, quota });
  const { simulator } = cluster;
  await using target = await startTarget(bench, variant, simulator, [
    `--max-credential-retention-before-renewal=${plan.renewAfterSeconds}s`,
    '--max-service-qps=1000',
  ]);
  const { pid } = target;
  const accounts = await createServiceAccounts(simulator, plan.serviceAccounts);
  const resident = () => (pid === undefined ? Number.NaN : residentKiB(pid) / 1_024);
  const before = resident();
  const began = Date.now();
  const lives: Life[] = [];
  const answers: PodAnswer[] = [];
  const outcomes: ClientResult[] = [];
  const job = async (index: number): Promise<void> => {
    await pause((index * 1_000) / plan.podsPerSecond);
    const serviceAccount = accounts[index % accounts.length] as string;
    const pod = await simulator.kubelet.createPod({ namespace: NAMESPACE, serviceAccount });
    const from = Date.now();
    const client = { ...CLIENT, token: pod.token, from: podAddress(index) };
    const [result] = await runClients(target.address, [client]);
    if (result !== undefined) outcomes.push(result);
    if (result?.status === 200) answers.push({ pod, body: result.body });
    await pause(plan.lifeSeconds * 1_000 - (Date.now() - from));
    await pod.delete();
    lives.push({ name: pod.name, serviceAccount, from, to: Date.now() });
  };
  const pods = plan.podsPerSecond * plan.seconds;
  await Promise.all(Array.from({ length: pods }, (_, index) => job(index)));
  await pause(plan.afterSeconds * 1_000);
  checkFailures(variant, outcomes);
  await checkAnswers(simulator, answers);
  const calls = await callsSince(simulator, accounts, began);
  return {
    pods,
    served: answers.length,
    calls: calls.length,
    callsForGone: calls.filter((call) => isForGone(call, variant, lives)).length,
    callTimes: calls.map(({ time }) => time - began),
    residentMiB: pid === undefined ? undefined : { before, after: resident() },
  };
}

/** Whether nobody was there whom the call's session is for: pods of its service account, or it. */
function isForGone(call: AuditEvent, variant: Variant, lives: readonly Life[]): boolean {
  const { time, serviceAccount, pod } = call;
  return !lives.some(
    (life) =>
      time >= life.from - GRACE_MS &&
      time <= life.to + GRACE_MS &&
      (variant === 'service-account' ? life.serviceAccount === serviceAccount : life.name === pod),
  );
}
