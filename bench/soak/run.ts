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
import { sleep } from './sleep.ts';
import { type Stage, setStage } from './stage.ts';

/** Where strangers' requests come from; each is a source of its own. */
const FORGERS = ['127.66.0.1', '127.66.0.2'];
const RUFFIANS = ['127.67.0.1', '127.67.0.2'];
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

/** Lets a cluster live, and its neighbours misbehave, for a while; and says what came of it. */
export async function runSoak(options: SoakOptions, view: SoakView): Promise<SoakResult> {
  const startedAt = performance.now();
  const everything = new AbortController();
  const trouble = new AbortController();
  await using stage = await setStage(options, everything.signal);
  const { findings, broker } = stage;
  const ownDelay = monitorEventLoopDelay();
  ownDelay.enable();

  // Before it has keys, tokens would have sessions of their own.
  while (!stage.keys.isGood(stage.keys.first, Date.now())) {
    await sleep(50, everything.signal);
    await stage.feed.read();
  }
  await populate(stage.world, stage.churnChance);
  await stage.delayAssociations();
  const watching = [
    stage.feed.run(everything.signal),
    stage.memory.run(everything.signal),
    watchOver(stage, everything.signal),
    report(stage, options, view, everything.signal),
  ];
  const acting = Promise.all([
    churn(stage.world, stage.churnChance, trouble.signal),
    stage.operator.run(trouble.signal),
    stage.keys.run(trouble.signal),
    stage.eksAuthTroubles.run(trouble.signal),
    stage.issuerTroubles.run(trouble.signal),
  ]);
  // Whoever fails, fails the run; the others are told to stop.
  const all = Promise.all([...watching, ...strangers(stage, everything.signal), acting]);
  all.catch(() => everything.abort());
  await sleep(options.duration, everything.signal);
  trouble.abort();
  await Promise.race([acting, all]);
  await sleep(untilWell(stage), everything.signal);
  everything.abort();
  await all;
  await stage.podClients.ended();
  ownDelay.disable();

  const metrics = await broker.metrics();
  const exitCode = await broker.process.stop();
  await sleep(LAST_CALLS, new AbortController().signal);
  await stage.feed.read();
  await stage.credentialCheck.done();
  checkLog(broker.process.output(), findings);
  if (exitCode !== 0) findings.add(`the broker ended with ${exitCode}`);
  checkMetrics(metrics, findings);

  const { calls, operator, memory } = stage;
  const doubleFetches = calls.doubleFetches(operator.flushes);
  const counted = (await stage.simulator.counts()).doubleFetches.serviceAccount;
  const { afterFlush, otherSession, unclear, real } = doubleFetches;
  const unaccounted = Math.max(0, counted - afterFlush - otherSession - unclear - real);
  for (const detail of doubleFetches.details) findings.add('double fetch', { detail });
  if (unaccounted > 0) findings.add('double fetches that cannot be accounted for', { counted });
  const unverified = sumOf(metrics, 'pod_identity_broker_unverified_calls_total');
  if (unverified > 0) findings.add('calls for tokens that could not be verified', { unverified });
  if (calls.forged > 0) findings.add('calls for made-up tokens', { calls: calls.forged });
  const memoryReport = memory.report();
  if (!stage.timing.brief && memoryReport.grew) findings.add('memory grew', { ...memoryReport });
  return {
    seed: options.seed,
    seconds: (performance.now() - startedAt) / 1_000,
    clockOffset: stage.clockOffset,
    pods: stage.pods,
    strangers: stage.strangerTally,
    rude: stage.strangers.rude,
    wrongAnswers: findings.countOf(/^wrong answer/),
    judged: stage.judge.judged,
    checkedAtSts: stage.credentialCheck.checked,
    failedFirstTries: stage.podClients.failedFirstTries,
    calls: calls.outcomes(),
    faults: calls.faults(),
    fetches: calls.fetches(),
    troubles: stage.eksAuthTroubles.count + stage.issuerTroubles.count,
    flushes: operator.flushes.length,
    keyRotations: stage.keys.rotations,
    doubleFetches: { ...doubleFetches, real: real + unaccounted },
    forgedCalls: calls.forged,
    memory: memoryReport,
    hits: stage.judge.hits,
    ownDelay,
    loopDelay: loopDelayOf(metrics),
    unverified,
    exitCode,
    findings: findings.lines(),
    log: findings.count > 0 ? await keepLog(broker.process.output()) : undefined,
  };
}

/** How long it takes until everybody can be expected to be served, and a little more. */
function untilWell({ timing, eksAuthHealth, world }: Stage): DurationMs {
  const wellFrom = Math.max(
    eksAuthHealth.wellFrom,
    ...world.accounts.map(({ usableFrom }) => usableFrom),
  );
  const wait = Math.max(0, wellFrom - Date.now()) + AFTERWARDS;
  return timing.brief ? Math.min(wait, BRIEF_END) : wait;
}

function strangers({ strangers: them, timing }: Stage, signal: AbortSignal): Promise<void>[] {
  // Before a good token has proven the keys, they refuse nobody.
  const later = async (work: () => Promise<void>) => {
    await sleep(timing.warmUp / 2, signal);
    await work();
  };
  return [
    ...FORGERS.map((address) => later(() => them.forge(address, signal))),
    ...RUFFIANS.map((address) => later(() => them.misbehave(address, signal))),
  ];
}

/** Notices a broker that dies. */
async function watchOver({ broker }: Stage, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(200, signal);
    if (broker.process.ended()) {
      throw new Error(`the broker has died:\n${broker.process.output().slice(-4_000)}`);
    }
  }
}

async function report(
  stage: Stage,
  { duration }: SoakOptions,
  view: SoakView,
  signal: AbortSignal,
): Promise<void> {
  const startedAt = performance.now();
  while (!signal.aborted) {
    const { pods, calls, memory, findings, eksAuthTroubles, issuerTroubles } = stage;
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
