import { clusterFor } from '../harness/cluster.ts';
import { createPods } from '../harness/pods.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { checkFailures } from '../harness/right-failures.ts';
import { startTarget, VARIANT_LABEL, type Variant, variants } from '../harness/target.ts';
import { runClients } from '../load/clients.ts';
import { podAddress } from '../load/one-try.ts';
import { count, percent } from '../report/format.ts';
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

interface SlowFigures {
  readonly variant: Variant;
  readonly sdk: string;
  readonly flights: Flights;
  readonly clients: number;
  readonly succeeded: number;
  readonly calls: number;
}

/** EKS Auth answers later than clients wait. */
export const slow: Scenario = {
  name: 'slow',
  shows: 'how many impatient clients ever succeed when EKS Auth is slow',
  async run(bench) {
    const { latency, clients } = bench.config.slow;
    const cases = variants(bench).flatMap((variant) =>
      (variant === 'peer' ? FLIGHTS.slice(0, 1) : FLIGHTS).map((flights) => ({ variant, flights })),
    );
    const names = SDKS.map(({ name }) => name).join(' and ');
    bench.progress(`${clients} clients like ${names}, all scopes at once`);
    const figures = await Promise.all(
      SDKS.flatMap((sdk) =>
        cases.map(({ variant, flights }) => impatient(bench, variant, flights, sdk)),
      ),
    );
    return {
      headlines: headlines(figures, latency),
      tables: [
        {
          title: `slow: EKS Auth takes ${latency / 1_000} s, ${clients} pods ask`,
          columns: ['', ...SDKS.flatMap(({ name }) => [name, 'calls'])],
          rows: cases.map(({ variant, flights }) => [
            `${VARIANT_LABEL[variant]}${variant === 'peer' ? '' : `, ${flights}`}`,
            ...SDKS.flatMap(({ name }) => {
              const found = figures.find(
                (one) => one.variant === variant && one.flights === flights && one.sdk === name,
              );
              if (found === undefined) return ['–', '–'];
              return [percent(found.succeeded / found.clients), count(found.calls)];
            }),
          ]),
          notes: [
            'detached: a fetch goes on when its client hangs up. attached: it ends with it, imitated',
            'by --attempt-timeout and --flight-timeout of the client’s patience, as the broker has',
            'no such mode.',
          ],
        },
      ],
      charts: [
        {
          kind: 'bars',
          title: `Clients that ever get credentials when EKS Auth takes ${latency / 1_000} s`,
          value: { label: 'clients that succeed', unit: 'percent', max: 1 },
          groups: SDKS.map(({ name }) => ({
            label: name,
            bars: figures
              .filter(({ sdk }) => sdk === name)
              .map(({ variant, flights, succeeded, clients: all }) => ({
                label: `${variant}${variant === 'peer' ? '' : `, ${flights}`}`,
                colour: variant,
                value: succeeded / all,
              })),
          })),
        },
      ],
      figures,
    };
  },
};

async function impatient(
  bench: Bench,
  variant: Variant,
  flights: Flights,
  sdk: Sdk,
): Promise<SlowFigures> {
  const { latency, clients, serviceAccounts, overSeconds } = bench.config.slow;
  await using cluster = await clusterFor(bench, { latency });
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
  const accounts = new Set(pods.map(({ serviceAccount }) => serviceAccount));
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
  const counts = await simulator.counts();
  const calls = [...accounts].reduce(
    (sum, name) => sum + (counts.serviceAccounts[`bench/${name}`]?.calls ?? 0),
    0,
  );
  return { variant, sdk: sdk.name, flights, clients, succeeded: served.length, calls };
}

function headlines(figures: readonly SlowFigures[], latency: number): string[] {
  const part = (variant: Variant, flights: Flights) => {
    const chosen = figures.filter((one) => one.variant === variant && one.flights === flights);
    const succeeded = chosen.reduce((sum, one) => sum + one.succeeded, 0);
    return percent(succeeded / chosen.reduce((sum, one) => sum + one.clients, 0));
  };
  return [
    `EKS Auth at ${latency / 1_000} s: ${part('service-account', 'detached')} of impatient clients succeed; ` +
      `in token scope with flights that end with their client ${part('token', 'attached')}`,
  ];
}
