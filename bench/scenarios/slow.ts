import { countCalls } from '../harness/calls.ts';
import { clusterFor } from '../harness/cluster.ts';
import { accountsOf, createPods } from '../harness/pods.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { checkFailures } from '../harness/right-failures.ts';
import { startTarget } from '../harness/target.ts';
import {
  sideBySide,
  sideBySideNote,
  sideBySideWords,
  VARIANT_LABEL,
  type Variant,
  variants,
} from '../harness/variants.ts';
import { runClients } from '../load/clients.ts';
import { podAddress } from '../load/one-try.ts';
import { count, percent, seconds } from '../report/format.ts';
import { medianOf, overRounds } from '../report/rounds.ts';
import type { Bench, Scenario } from '../scenario.ts';

/** SDKs that hang up: as measured with real ones in pods' network namespaces. */
const SDKS = [
  { name: 'older JavaScript SDK', patience: 1_000, tries: 4, pause: 1_000 },
  { name: 'botocore', patience: 2_000, tries: 3, pause: 1_000 },
] as const;
type Sdk = (typeof SDKS)[number];

/** Whether a fetch outlives the client that started it. */
const FLIGHTS = ['detached', 'attached'] as const;
type Flights = (typeof FLIGHTS)[number];

const MEANING: Readonly<Record<Flights, string>> = {
  detached: 'fetch goes on',
  attached: 'fetch ends, too',
};

/** Who asks whom. */
interface SlowCase {
  readonly variant: Variant;
  readonly flights: Flights;
  readonly sdk: Sdk;
}

interface SlowRound {
  readonly clients: number;
  readonly succeeded: number;
  readonly calls: number;
}

type SlowFigures = SlowCase & { readonly rounds: readonly SlowRound[] };

/** EKS Auth answers later than clients wait. */
export const slow: Scenario = {
  name: 'slow',
  shows: 'how many impatient clients ever succeed when EKS Auth is slow',
  mostlyWaits: true,
  async run(bench) {
    const { latency, clients } = bench.config.slow;
    const takes = `EKS Auth takes about ${seconds(latency.median)}`;
    const rows = variants(bench).flatMap((variant) =>
      (variant === 'peer' ? FLIGHTS.slice(0, 1) : FLIGHTS).map((flights) => ({ variant, flights })),
    );
    const cases = SDKS.flatMap((sdk) => rows.map((row): SlowCase => ({ ...row, sdk })));
    const names = SDKS.map(({ name }) => name).join(' and ');
    bench.progress(`${clients} clients like ${names}, ${sideBySideWords(bench)}`);
    const rounds = await sideBySide(bench, cases, (one) => impatient(bench, one));
    const figures = cases.map((one, index) => ({ ...one, rounds: rounds[index] ?? [] }));
    const of = (row: (typeof rows)[number], sdk: Sdk) =>
      figures.find(
        (one) => one.variant === row.variant && one.flights === row.flights && one.sdk === sdk,
      )?.rounds ?? [];
    return {
      headlines: headlines(figures, latency.median),
      tables: [
        {
          title: `slow: ${takes}, ${clients} pods ask`,
          columns: ['', ...SDKS.flatMap(({ name }) => [name, 'calls'])],
          rows: rows.map((row) => [
            `${VARIANT_LABEL[row.variant]}${suffix(row)}`,
            ...SDKS.flatMap((sdk) => [
              overRounds(of(row, sdk).map(success), percent),
              overRounds(
                of(row, sdk).map(({ calls }) => calls),
                count,
              ),
            ]),
          ]),
          notes: [
            'detached: a fetch goes on when its client hangs up. attached: it ends with it, imitated',
            'by --attempt-timeout and --flight-timeout of the client’s patience, as the broker has',
            'no such mode. Its calls are fewer than those of an agent that works like that: the broker',
            `makes them more slowly while they fail. ${sideBySideNote(bench)}`,
          ],
        },
      ],
      charts: [
        {
          kind: 'bars',
          title: `Clients that ever get credentials when ${takes}`,
          value: { label: 'clients that succeed', unit: 'percent', max: 1 },
          groups: SDKS.flatMap((sdk) =>
            FLIGHTS.map((flights) => ({
              label: `${sdk.name}, hangs up after ${seconds(sdk.patience)}: ${MEANING[flights]}`,
              bars: rows
                .filter((row) => row.flights === flights)
                .map((row) => ({
                  label: row.variant === 'peer' ? 'peer' : `${row.variant} scope`,
                  colour: row.variant,
                  value: medianOf(of(row, sdk), success) ?? 0,
                })),
            })),
          ),
        },
      ],
      figures: figures.map(({ sdk, ...one }) => ({ ...one, sdk: sdk.name })),
    };
  },
};

function suffix({ variant, flights }: Omit<SlowCase, 'sdk'>): string {
  return variant === 'peer' ? '' : `, ${flights}`;
}

function success({ succeeded, clients }: SlowRound): number {
  return succeeded / clients;
}

async function impatient(bench: Bench, { variant, flights, sdk }: SlowCase): Promise<SlowRound> {
  const { latency, quota, clients, serviceAccounts, overSeconds } = bench.config.slow;
  await using cluster = await clusterFor(bench, { latency, quota });
  const { simulator } = cluster;
  await using target = await startTarget(
    bench,
    variant,
    simulator,
    flights === 'detached'
      ? []
      : [`--attempt-timeout=${sdk.patience}ms`, `--flight-timeout=${sdk.patience}ms`],
  );
  const pods = await createPods(simulator, { pods: clients, serviceAccounts });
  const { patience, tries, pause } = sdk;
  const results = await runClients(
    target.address,
    pods.map(({ token }, index) => ({
      token,
      patience,
      tries,
      pause,
      startAt: (index / clients) * overSeconds * 1_000,
      from: podAddress(index),
    })),
  );
  checkFailures(variant, results);
  const served = results.flatMap(({ status, body }, index) =>
    status === 200 ? [{ pod: pods[index] as (typeof pods)[0], body }] : [],
  );
  await checkAnswers(simulator, served);
  const { calls } = await countCalls(simulator, accountsOf(pods));
  return { clients, succeeded: served.length, calls };
}

function headlines(figures: readonly SlowFigures[], latency: number): string[] {
  const part = (variant: Variant, flights: Flights) => {
    const rounds = figures
      .filter((one) => one.variant === variant && one.flights === flights)
      .flatMap((one) => one.rounds);
    const succeeded = rounds.reduce((sum, one) => sum + one.succeeded, 0);
    return percent(succeeded / rounds.reduce((sum, one) => sum + one.clients, 0));
  };
  return [
    `EKS Auth at ${seconds(latency)}: ${part('service-account', 'detached')} of impatient clients succeed; ` +
      `in token scope with flights that end with their client ${part('token', 'attached')}`,
  ];
}
