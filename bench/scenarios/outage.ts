import { setTimeout as pause } from 'node:timers/promises';
import type { RemotePod } from '../../src/simulator/control-client.ts';
import { clusterFor } from '../harness/cluster.ts';
import { createServiceAccounts, morePods } from '../harness/pods.ts';
import { checkAnswers, type PodAnswer } from '../harness/right-answers.ts';
import { checkFailures, expectCredentials } from '../harness/right-failures.ts';
import { startTarget } from '../harness/target.ts';
import {
  type Measured,
  sideBySideNote,
  sideBySideWords,
  VARIANT_LABEL,
  type Variant,
  variantsSideBySide,
} from '../harness/variants.ts';
import { runClients } from '../load/clients.ts';
import { podAddress } from '../load/one-try.ts';
import { shareByTime } from '../report/distribution.ts';
import { percent } from '../report/format.ts';
import { medianOf, overRounds } from '../report/rounds.ts';
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

/** All tries of a round. */
interface OutageRound {
  readonly attempts: readonly Attempt[];
}

const CLIENT = { startAt: 0, patience: 2_000, tries: 1, pause: 0 };

/** EKS Auth is away for a while: known pods, pods with new tokens and new pods go on asking. */
export const outage: Scenario = {
  name: 'outage',
  shows: 'which requests are answered while EKS Auth is away',
  mostlyWaits: true,
  async run(bench) {
    const plan = bench.config.outage;
    bench.progress(`EKS Auth is away for ${plan.awaySeconds} s, ${sideBySideWords(bench)}`);
    const figures = await variantsSideBySide(bench, (variant) => goAway(bench, variant));
    const from = plan.beforeSeconds;
    const to = from + plan.awaySeconds;
    const during = ({ attempts }: OutageRound, kind?: Kind) =>
      share(
        attempts.filter(
          (one) =>
            one.at >= from * 1_000 &&
            // A try that begins in the last moments of an outage may end after it.
            one.at < to * 1_000 - CLIENT.patience &&
            (kind === undefined || one.kind === kind),
        ),
      );
    return {
      headlines: [headline(figures, during)],
      tables: [
        {
          title: `outage: requests answered while EKS Auth was away for ${plan.awaySeconds} s`,
          columns: ['', 'all', 'known pods', 'pods with a new token', 'new pods'],
          rows: figures.map(({ variant, rounds }) => [
            VARIANT_LABEL[variant],
            ...[undefined, ...KINDS].map((kind) =>
              overRounds(
                rounds.map((round) => during(round, kind)),
                percent,
              ),
            ),
          ]),
          notes: [
            `New pods are of service accounts that other pods had credentials of already. ${sideBySideNote(bench)}`,
          ],
        },
      ],
      charts: [
        {
          kind: 'lines',
          title: 'Requests answered while EKS Auth is away, by the second',
          x: { label: 'time', unit: 's' },
          y: { label: 'requests answered', unit: 'percent', max: 1 },
          spans: [{ from, to, label: 'EKS Auth is away' }],
          lines: figures.map(({ variant, rounds }) => ({
            label: VARIANT_LABEL[variant],
            colour: variant,
            points: shareByTime(
              rounds.flatMap(({ attempts }) => attempts),
              plan.perSecond >= 9 ? 1_000 : 3_000,
            ),
          })),
        },
      ],
      figures: figures.map(({ variant, rounds }) => ({
        variant,
        rounds: rounds.map((round) => ({
          requests: round.attempts.length,
          answeredDuring: Object.fromEntries(KINDS.map((kind) => [kind, during(round, kind)])),
          answeredDuringAll: during(round),
        })),
      })),
    };
  },
};

function headline(
  figures: readonly Measured<OutageRound>[],
  during: (round: OutageRound) => number,
): string {
  const [shared, baseline] = (['service-account', 'token'] as const).map((wanted) =>
    percent(medianOf(figures.find(({ variant }) => variant === wanted)?.rounds ?? [], during) ?? 0),
  );
  return `EKS Auth away: ${shared} of requests answered; in token scope ${baseline}`;
}

/** The pods of one round: those whose tokens stay, those whose tokens are replaced, new ones. */
interface OutagePods {
  readonly known: readonly RemotePod[];
  readonly rotating: readonly RemotePod[];
  readonly fresh: readonly RemotePod[];
}

async function goAway(bench: Bench, variant: Variant): Promise<OutageRound> {
  const plan = bench.config.outage;
  const { latency, quota } = plan;
  await using cluster = await clusterFor(bench, { latency, quota });
  const { simulator } = cluster;
  await using target = await startTarget(bench, variant, simulator);
  const accounts = await createServiceAccounts(simulator, plan.serviceAccounts);
  const seconds = plan.beforeSeconds + plan.awaySeconds + plan.afterSeconds;
  const all = Math.floor(seconds * plan.perSecond);
  const old = await morePods(simulator, accounts, plan.pods);
  const pods: OutagePods = {
    known: old.slice(0, old.length / 2),
    rotating: old.slice(old.length / 2),
    fresh: await morePods(simulator, accounts, Math.ceil(all / KINDS.length)),
  };
  const warm = await runClients(
    target.address,
    old.map(({ token }, index) => ({
      ...CLIENT,
      ...{ tries: 10, pause: 1_000 },
      token,
      from: podAddress(index),
    })),
  );
  expectCredentials(variant, 'a pod, before anything was the matter,', warm);
  const attempts: Attempt[] = [];
  const answers: PodAnswer[] = [];
  let wentAwayAt = Number.POSITIVE_INFINITY;
  const ask = async (index: number): Promise<void> => {
    await pause((index * 1_000) / plan.perSecond);
    const kind = KINDS[index % KINDS.length] as Kind;
    const [pod, from] = podFor(pods, kind, Math.floor(index / KINDS.length));
    if (kind === 'rotated token') await pod.rotate();
    const at = performance.now() - began;
    const results = await runClients(target.address, [{ ...CLIENT, token: pod.token, from }]);
    const when = `${(at / 1_000).toFixed(1)} s after the first try`;
    const wasWell = performance.now() < wentAwayAt;
    // Its session is there, and nobody has to be asked.
    if (kind === 'known pod') expectCredentials(variant, `a known pod, ${when},`, results);
    else if (wasWell)
      expectCredentials(variant, `a ${kind}, ${when} and before the fault,`, results);
    else checkFailures(variant, results);
    const good = results[0]?.status === 200;
    if (good) answers.push({ pod, body: results[0]?.body ?? '' });
    attempts.push({ kind, at, good });
  };
  const began = performance.now();
  const absence = (async () => {
    await pause(plan.beforeSeconds * 1_000);
    wentAwayAt = performance.now();
    const id = await simulator.faults.add({ kind: 'reset' });
    await pause(plan.awaySeconds * 1_000);
    await simulator.faults.clear(id);
  })();
  await Promise.all([absence, ...Array.from({ length: all }, (_, index) => ask(index))]);
  await checkAnswers(simulator, answers);
  return { attempts };
}

/** Whose turn it is, and from where it asks. */
function podFor({ known, rotating, fresh }: OutagePods, kind: Kind, turn: number) {
  const [list, first] = {
    'known pod': [known, 0] as const,
    'rotated token': [rotating, known.length] as const,
    'new pod': [fresh, known.length + rotating.length] as const,
  }[kind];
  const index = turn % list.length;
  return [list[index] as RemotePod, podAddress(first + index)] as const;
}

function share(attempts: readonly Attempt[]): number {
  return attempts.filter(({ good }) => good).length / Math.max(1, attempts.length);
}
