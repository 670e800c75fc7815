import { setTimeout as pause } from 'node:timers/promises';
import { clusterFor } from '../harness/cluster.ts';
import { createServiceAccounts, morePods } from '../harness/pods.ts';
import { checkAnswers, type PodAnswer } from '../harness/right-answers.ts';
import { checkFailures } from '../harness/right-failures.ts';
import { startTarget, VARIANT_LABEL, type Variant, variants } from '../harness/target.ts';
import { runClients } from '../load/clients.ts';
import { podAddress } from '../load/one-try.ts';
import { shareBySecond } from '../report/distribution.ts';
import { percent } from '../report/format.ts';
import type { Bench, Scenario } from '../scenario.ts';

/** Who asks while EKS Auth is away. */
const KINDS = ['known pod', 'rotated token', 'new pod'] as const;
type Kind = (typeof KINDS)[number];

/** One try during the scenario. */
interface Attempt {
  readonly kind: Kind;
  /** Milliseconds since the first try. */
  readonly at: number;
  readonly good: boolean;
}

interface OutageFigures {
  readonly variant: Variant;
  readonly attempts: readonly Attempt[];
}

const CLIENT = { startAt: 0, patience: 2_000, tries: 1, pause: 0 };

/** EKS Auth is away for a while: known pods, pods with new tokens and new pods go on asking. */
export const outage: Scenario = {
  name: 'outage',
  shows: 'which requests are answered while EKS Auth is away',
  async run(bench) {
    const plan = bench.config.outage;
    bench.progress(`EKS Auth is away for ${plan.awaySeconds} s, all scopes at once`);
    const figures = await Promise.all(variants(bench).map((variant) => goAway(bench, variant)));
    const from = plan.beforeSeconds;
    const to = from + plan.awaySeconds;
    const during = ({ attempts }: OutageFigures, kind?: Kind) =>
      share(
        attempts.filter(
          (one) =>
            one.at >= from * 1_000 &&
            // A try that begins in the last moments of an outage may end after it.
            one.at < to * 1_000 - CLIENT.patience &&
            (kind === undefined || one.kind === kind),
        ),
      );
    const shared = figures.find(({ variant }) => variant === 'service-account');
    const baseline = figures.find(({ variant }) => variant === 'token');
    return {
      headlines:
        shared && baseline
          ? [
              `EKS Auth away: ${percent(during(shared))} of requests answered; in token scope ${percent(during(baseline))}`,
            ]
          : [],
      tables: [
        {
          title: `outage: requests answered while EKS Auth was away for ${plan.awaySeconds} s`,
          columns: ['', 'all', 'known pods', 'pods with a new token', 'new pods'],
          rows: figures.map((one) => [
            VARIANT_LABEL[one.variant],
            percent(during(one)),
            ...KINDS.map((kind) => percent(during(one, kind))),
          ]),
          notes: ['New pods are of service accounts that other pods had credentials of already.'],
        },
      ],
      charts: [
        {
          kind: 'lines',
          title: 'Requests answered while EKS Auth is away, by the second',
          x: { label: 'time', unit: 's' },
          y: { label: 'requests answered', unit: 'percent', max: 1 },
          spans: [{ from, to, label: 'EKS Auth is away' }],
          lines: figures.map(({ variant, attempts }) => ({
            label: VARIANT_LABEL[variant],
            colour: variant,
            points: shareBySecond(attempts, plan.perSecond >= 9 ? 1_000 : 3_000),
          })),
        },
      ],
      figures: figures.map((one) => ({
        variant: one.variant,
        requests: one.attempts.length,
        answeredDuring: Object.fromEntries(KINDS.map((kind) => [kind, during(one, kind)])),
        answeredDuringAll: during(one),
      })),
    };
  },
};

async function goAway(bench: Bench, variant: Variant): Promise<OutageFigures> {
  const plan = bench.config.outage;
  await using cluster = await clusterFor(bench, { latency: plan.latency, quota: null });
  const { simulator } = cluster;
  await using target = await startTarget(bench, variant, simulator);
  const accounts = await createServiceAccounts(simulator, plan.serviceAccounts);
  const seconds = plan.beforeSeconds + plan.awaySeconds + plan.afterSeconds;
  const all = Math.floor(seconds * plan.perSecond);
  const pods = await morePods(simulator, accounts, plan.pods);
  const fresh = await morePods(simulator, accounts, Math.ceil(all / KINDS.length));
  const warm = await runClients(
    target.address,
    pods.map(({ token }, index) => ({ ...CLIENT, tries: 5, token, from: podAddress(index) })),
  );
  checkFailures(variant, warm);
  const attempts: Attempt[] = [];
  const answers: PodAnswer[] = [];
  const ask = async (index: number): Promise<void> => {
    await pause((index * 1_000) / plan.perSecond);
    const kind = KINDS[index % KINDS.length] as Kind;
    const turn = Math.floor(index / KINDS.length);
    const pod = (kind === 'new pod' ? fresh[turn] : pods[turn % pods.length]) as (typeof pods)[0];
    if (kind === 'rotated token') await pod.rotate();
    const at = performance.now() - began;
    const from = podAddress(kind === 'new pod' ? pods.length + turn : turn % pods.length);
    const results = await runClients(target.address, [{ ...CLIENT, token: pod.token, from }]);
    checkFailures(variant, results);
    const good = results[0]?.status === 200;
    if (good) answers.push({ pod, body: results[0]?.body ?? '' });
    attempts.push({ kind, at, good });
  };
  const began = performance.now();
  const absence = (async () => {
    await pause(plan.beforeSeconds * 1_000);
    const id = await simulator.faults.add({ kind: 'reset' });
    await pause(plan.awaySeconds * 1_000);
    await simulator.faults.clear(id);
  })();
  await Promise.all([absence, ...Array.from({ length: all }, (_, index) => ask(index))]);
  await checkAnswers(simulator, answers);
  return { variant, attempts };
}

function share(attempts: readonly Attempt[]): number {
  return attempts.filter(({ good }) => good).length / Math.max(1, attempts.length);
}
