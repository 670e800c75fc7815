import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { DurationMs } from '../../src/clock.ts';
import { checkLog } from './broker-log.ts';
import { checkMetrics, loopDelayOf, sumOf } from './broker-metrics.ts';
import { churn, populate } from './churn.ts';
import type { SoakOptions } from './options.ts';
import type { SoakResult } from './report.ts';
import { type SoakSetup, setUp } from './setup.ts';
import { sleep } from './sleep.ts';

/** Where the requests of hostile clients come from; each is a source of its own. */
const FORGED_TOKENS_FROM = ['127.66.0.1', '127.66.0.2'];
const MALFORMED_REQUESTS_FROM = ['127.67.0.1', '127.67.0.2'];
/** How long pods go on asking once everything has been well for long enough. */
const AFTERWARDS: DurationMs = 3_000;
/** The longest that the end of a brief run waits for everything to be well. */
const BRIEF_END: DurationMs = 1_500;
/** How long calls that are under way are given to end. */
const LAST_CALLS: DurationMs = 500;

/** How a run is followed. */
export interface SoakView {
  /** Called about every second with where the run is. */
  progress(text: string): void;
}

/** Runs a cluster in trouble, with hostile clients, for a while; and says what came of it. */
export async function runSoak(options: SoakOptions, view: SoakView): Promise<SoakResult> {
  const startedAt = performance.now();
  const everything = new AbortController();
  const trouble = new AbortController();
  await using setup = await setUp(options, everything.signal);
  const { findings, broker } = setup;
  const ownDelay = monitorEventLoopDelay();
  ownDelay.enable();

  // Before it has keys, tokens would have sessions of their own.
  while (!setup.keys.isGood(setup.keys.first, Date.now())) {
    await sleep(50, everything.signal);
    await setup.feed.read();
  }
  await populate(setup.world, setup.churnChance);
  await setup.delayAssociations();
  const watching = [
    setup.feed.run(everything.signal),
    setup.memory.run(everything.signal),
    watchOver(setup, everything.signal),
    report(setup, options, view, everything.signal),
  ];
  const disturbing = Promise.all([
    churn(setup.world, setup.churnChance, trouble.signal),
    setup.operator.run(trouble.signal),
    setup.keys.run(trouble.signal),
    setup.eksAuthTroubles.run(trouble.signal),
    setup.issuerTroubles.run(trouble.signal),
  ]);
  // Whoever fails, fails the run; the others are told to stop.
  const all = Promise.all([...watching, ...hostileClients(setup, everything.signal), disturbing]);
  all.catch(() => everything.abort());
  await sleep(options.duration, everything.signal);
  trouble.abort();
  await Promise.race([disturbing, all]);
  await sleep(untilWell(setup), everything.signal);
  everything.abort();
  await all;
  await setup.podClients.ended();
  ownDelay.disable();

  const metrics = await broker.metrics();
  const exitCode = await broker.process.stop();
  await sleep(LAST_CALLS, new AbortController().signal);
  await setup.feed.read();
  await setup.credentialCheck.done();
  checkLog(broker.process.output(), findings);
  if (exitCode !== 0) findings.add(`the broker ended with ${exitCode}`);
  checkMetrics(metrics, findings);

  const { calls, operator, memory } = setup;
  calls.checkFetches(setup.timing.minFetches, findings);
  const doubleFetches = calls.doubleFetches(operator.flushes);
  const counted = (await setup.simulator.counts()).doubleFetches.serviceAccount;
  const { afterFlush, otherSession, unclear, real } = doubleFetches;
  const unaccounted = Math.max(0, counted - afterFlush - otherSession - unclear - real);
  for (const detail of doubleFetches.details) findings.add('double fetch', { detail });
  if (unaccounted > 0) findings.add('double fetches that cannot be accounted for', { counted });
  const unverified = sumOf(metrics, 'pod_identity_broker_unverified_calls_total');
  if (unverified > 0) findings.add('calls for tokens that could not be verified', { unverified });
  if (calls.forged > 0) findings.add('calls for made-up tokens', { calls: calls.forged });
  const memoryReport = memory.report();
  if (!setup.timing.brief && memoryReport.grew) findings.add('memory grew', { ...memoryReport });
  return {
    seed: options.seed,
    seconds: (performance.now() - startedAt) / 1_000,
    clockOffset: setup.clockOffset,
    pods: setup.pods,
    forged: setup.forgedTally,
    malformed: setup.hostileClients.malformed,
    wrongAnswers: findings.countOf(/^wrong answer/),
    checked: setup.answerCheck.checked,
    checkedAtSts: setup.credentialCheck.checked,
    failedFirstTries: setup.podClients.failedFirstTries,
    calls: calls.outcomes(),
    faults: calls.faults(),
    fetches: calls.fetches(),
    minFetches: setup.timing.minFetches,
    troubles: setup.eksAuthTroubles.count + setup.issuerTroubles.count,
    flushes: operator.flushes.length,
    keyRotations: setup.keys.rotations,
    doubleFetches: { ...doubleFetches, real: real + unaccounted },
    forgedCalls: calls.forged,
    memory: memoryReport,
    hits: setup.answerCheck.hits,
    ownDelay,
    loopDelay: loopDelayOf(metrics),
    unverified,
    exitCode,
    findings: findings.lines(),
    log: findings.count > 0 ? await keepLog(broker.process.output()) : undefined,
  };
}

/** How long it takes until everybody can be expected to be served, and a little more. */
function untilWell({ timing, eksAuthHealth, world }: SoakSetup): DurationMs {
  const wellFrom = Math.max(
    eksAuthHealth.wellFrom,
    ...world.accounts.map(({ usableFrom }) => usableFrom),
  );
  const wait = Math.max(0, wellFrom - Date.now()) + AFTERWARDS;
  return timing.brief ? Math.min(wait, BRIEF_END) : wait;
}

function hostileClients(
  { hostileClients: clients, timing }: SoakSetup,
  signal: AbortSignal,
): Promise<void>[] {
  // Before a good token has proven the keys, they refuse nobody.
  const later = async (work: () => Promise<void>) => {
    await sleep(timing.warmUp / 2, signal);
    await work();
  };
  return [
    ...FORGED_TOKENS_FROM.map((address) => later(() => clients.sendForgedTokens(address, signal))),
    ...MALFORMED_REQUESTS_FROM.map((address) =>
      later(() => clients.sendMalformedRequests(address, signal)),
    ),
  ];
}

/** Notices a broker that dies. */
async function watchOver({ broker }: SoakSetup, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(200, signal);
    if (broker.process.ended()) {
      throw new Error(`the broker has died:\n${broker.process.output().slice(-4_000)}`);
    }
  }
}

async function report(
  setup: SoakSetup,
  { duration }: SoakOptions,
  view: SoakView,
  signal: AbortSignal,
): Promise<void> {
  const startedAt = performance.now();
  while (!signal.aborted) {
    const { pods, calls, memory, findings, eksAuthTroubles, issuerTroubles } = setup;
    const minutes = ((performance.now() - startedAt) / 60_000).toFixed(1);
    const wrong = [...eksAuthTroubles.now, ...issuerTroubles.now].join(', ') || 'all well';
    view.progress(
      `${minutes} of ${(duration / 60_000).toFixed(1)} min  ${pods.requests} requests  ` +
        `${calls.count} calls  ${Math.round(memory.now / 1_024)} MiB  ` +
        `${findings.count} findings  ${wrong}`,
    );
    await sleep(1_000, signal);
  }
}

/** Keeps what the broker has written, for whoever looks into it. @returns The file. */
async function keepLog(output: string): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), 'soak-log-')), 'broker.log');
  await writeFile(file, output);
  return file;
}
