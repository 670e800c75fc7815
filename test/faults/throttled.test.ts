import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { AuditEvent } from '../../src/simulator/audit.ts';
import type { BrokerProcess } from '../support/broker-process.ts';
import { ask, type Cluster, given, holds, startCluster, total } from './cluster.ts';

// EKS Auth throttles the account: calls settle below its quota, and sessions are served in the
// order in which they were first asked for.

const LATENCY = 80;
/** Calls need this long to find the quota; what counts comes after. */
const SETTLING = 2_000;
/** Pods come in waves, one after the other: so the order of their arrival is known. */
const WAVE_EVERY = 300;
/** How long a busy machine may take over a wave's arrival. */
const ARRIVES_WITHIN = 5_000;
const WAVES = 5;

/** A 503. */
interface SentAway {
  readonly at: number;
  readonly retryAfter: number;
}

/** Asks once a second until there are credentials, as a pod that must have them does. */
async function insist(broker: BrokerProcess, token: string) {
  const sentAway: SentAway[] = [];
  for (;;) {
    const { status, body, headers } = await ask(broker, token);
    const at = performance.now();
    if (status === 200) return { servedAt: at, body, sentAway };
    if (status !== 503) throw new Error(`answered ${status}: ${JSON.stringify(body)}`);
    sentAway.push({ at, retryAfter: Number(headers['retry-after']) });
    await pause(1_000);
  }
}

type Served = Awaited<ReturnType<typeof insist>> & { readonly wave: number; readonly pod: string };

/** So many pods of one service account, in waves, each with a session of its own. */
async function crowd(cluster: Cluster, broker: BrokerProcess, pods: number): Promise<Served[]> {
  const served: Promise<Served>[] = [];
  for (let wave = 0; wave < WAVES; wave += 1) {
    for (let index = 0; index < pods / WAVES; index += 1) {
      const pod = cluster.pod('crowd');
      served.push(insist(broker, pod.token).then((result) => ({ ...result, wave, pod: pod.name })));
    }
    await pause(WAVE_EVERY);
    await holds(async () => (await arrived(broker)) >= served.length, ARRIVES_WITHIN);
  }
  return await Promise.all(served);
}

/** Sessions that have been asked for: they hold credentials, or their calls wait or are under way. */
async function arrived(broker: BrokerProcess): Promise<number> {
  const sums = await Promise.all(
    ['sessions', 'waiting_calls', 'calls_under_way'].map((name) =>
      total(broker, `pod_identity_broker_${name}`),
    ),
  );
  return sums.reduce((sum, one) => sum + one, 0);
}

/** Calls a second once they have settled. */
function settledRate(calls: readonly AuditEvent[]): number {
  const [first] = calls;
  const from = (first as AuditEvent).time + SETTLING;
  const settled = calls.filter(({ time }) => time >= from);
  const last = settled.at(-1) as AuditEvent;
  return (settled.length * 1_000) / (last.time - from);
}

/** The waves of the sessions that were granted once calls had settled, in the order of the grants. */
function inOrder(calls: readonly AuditEvent[], served: readonly Served[]): number[] {
  const waveOf = new Map(served.map(({ pod, wave }) => [pod, wave]));
  const from = (calls[0] as AuditEvent).time + SETTLING;
  return calls
    .filter(({ status, time }) => status === 200 && time >= from)
    .map(({ pod }) => waveOf.get(pod as string) as number);
}

/**
 * How often a crowd comes until it is served in its turn. Calls leave the queue in their turn, but
 * on a busy machine one may arrive at EKS Auth after one that left later, on another thread.
 */
const ROUNDS = 3;

// A machine that is busy connects slowly, which has nothing to do with quotas.
const PATIENT = ['--connect-timeout=10s'];

t.jobs = 3;

for (const { quota, pods, args } of [
  { quota: 5, pods: 45, args: [] },
  { quota: 20, pods: 200, args: ['--workers=2'] },
  // The queue is longer than a fetch may last.
  { quota: 5, pods: 45, args: ['--flight-timeout=3s'] },
]) {
  const named = [`a quota of ${quota}/s`, ...args].join(', ');
  /** A crowd comes; the order in which it is served. */
  async function round(t: Test): Promise<number[]> {
    const cluster = await startCluster(t, {
      latency: LATENCY,
      quota: { rate: quota, burst: quota },
      keyAlgorithm: 'ES256',
    });
    cluster.associate('crowd');
    const broker = await cluster.broker({ args: [...PATIENT, '--session-scope=pod', ...args] });
    const started = performance.now();
    const served = await crowd(cluster, broker, pods);
    const calls = cluster.calls();

    t.equal(new Set(served.map(({ body }) => body.AccessKeyId)).size, pods, 'all are served');
    const rate = settledRate(calls);
    t.ok(rate <= 1.2 * quota, `${rate.toFixed(1)} calls a second`);
    const took = (performance.now() - started) / 1_000;
    t.ok(took < (2 * pods) / quota, `and yet the quota is used: ${took.toFixed(1)} s`);
    t.strictSame(cluster.simulator.counts().doubleFetches.pod, 0);

    t.ok(
      served.some(({ sentAway }) => sentAway.length > 0),
      'some are told to wait',
    );
    const end = Math.max(...served.map(({ servedAt }) => servedAt));
    for (const { at, retryAfter, wave } of served.flatMap(({ sentAway, wave }) =>
      sentAway.map((one) => ({ ...one, wave })),
    )) {
      const left = (end - at) / 1_000;
      const fits = Number.isInteger(retryAfter) && retryAfter >= 1 && retryAfter <= 2 * left + 2;
      // Who is last in the queue waits for all of it.
      if (!fits || (wave === WAVES - 1 && retryAfter < left / 2 - 1)) {
        t.fail(`Retry-After ${retryAfter} with ${left.toFixed(1)} s to wait`);
      }
    }
    t.equal(await broker.stop(), 0);
    return inOrder(calls, served);
  }
  t.test(`${named}: ${pods} sessions`, { buffered: true }, async (t) => {
    let waves = await round(t);
    const isSorted = () => waves.every((wave, index) => wave >= (waves[index - 1] ?? 0));
    for (let number = 2; number <= ROUNDS && !isSorted(); number += 1) waves = await round(t);
    t.strictSame(waves, waves.toSorted(), 'who came first is served first');
  });
}

t.test('pods that have nothing go before renewals', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { keyAlgorithm: 'ES256' });
  cluster.associate('old', 'new');
  // Sessions of old are due from 6.4 to 8 s after they were fetched, and so all at once.
  const broker = await cluster.broker({
    args: [
      ...PATIENT,
      '--session-scope=pod',
      '--max-credential-retention-before-renewal=8s',
      '--max-service-qps=100',
    ],
  });
  const old = Array.from({ length: 20 }, () => cluster.pod('old').token);
  const started = performance.now();
  await Promise.all(old.map((token) => given(t, broker, token)));
  const wanted = await Promise.all(old.map((token) => ask(broker, token)));
  t.ok(
    wanted.every(({ status }) => status === 200),
    'wanted',
  );
  await pause(5_000 - (performance.now() - started));
  cluster.simulator.eksAuth.set({ latency: LATENCY, quota: { rate: 8, burst: 8 } });
  t.equal(cluster.calls('old').length, 20, 'none is renewed yet');
  await Promise.all(Array.from({ length: 40 }, () => insist(broker, cluster.pod('new').token)));
  const granted = cluster.calls().filter(({ status }) => status === 200);
  const lastNew = granted.findLastIndex(({ serviceAccount }) => serviceAccount === 'new');
  t.strictSame(
    granted.slice(20, lastNew).filter(({ serviceAccount }) => serviceAccount === 'old'),
    [],
    'no renewal while a pod had nothing',
  );
  const replies = await Promise.all(old.map((token) => ask(broker, token)));
  t.ok(
    replies.every(({ status }) => status === 200),
    'who waits for a renewal is served',
  );
  const renewed = () => cluster.calls('old').filter(({ status }) => status === 200).length - 20;
  t.ok(await holds(() => renewed() >= 10, 5_000), 'renewals follow');
});

t.test('--max-service-qps bounds renewals alone', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { keyAlgorithm: 'ES256' });
  cluster.associate('old', 'new');
  const broker = await cluster.broker({
    args: [
      ...PATIENT,
      '--session-scope=pod',
      '--max-credential-retention-before-renewal=2s',
      '--max-service-qps=5',
    ],
  });
  const old = Array.from({ length: 30 }, () => cluster.pod('old').token);
  for (let round = 0; round < 2; round += 1) {
    await Promise.all(old.map((token) => ask(broker, token)));
  }
  await pause(2_500);
  const young = Array.from({ length: 30 }, () => cluster.pod('new').token);
  const replies = await Promise.all(young.map((token) => ask(broker, token)));
  t.ok(
    replies.every(({ status, took }) => status === 200 && took < 1_500),
    'new sessions do not wait for it',
  );
  t.ok(await holds(() => cluster.calls('old').length >= 50, 8_000), 'renewals go on');
  const renewals = cluster.calls('old').slice(30);
  t.ok(most(renewals, 1_000) <= 10, `at most ${most(renewals, 1_000)} renewals in a second`);
  const [first, last] = [renewals[0] as AuditEvent, renewals.at(-1) as AuditEvent];
  // The burst of a second's worth, and five a second after it.
  const allowed = 5 + (5 * (last.time - first.time)) / 1_000;
  t.ok(renewals.length <= allowed + 1, `${renewals.length} renewals, ${allowed} allowed`);
});

t.test('--max-call-qps bounds all calls', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { latency: LATENCY, keyAlgorithm: 'ES256' });
  cluster.associate('crowd');
  const broker = await cluster.broker({
    args: [...PATIENT, '--session-scope=pod', '--max-call-qps=10'],
  });
  const served = await crowd(cluster, broker, 40);
  t.equal(new Set(served.map(({ body }) => body.AccessKeyId)).size, 40, 'all are served');
  const calls = cluster.calls();
  t.equal(calls.length, 40);
  t.ok(most(calls, 1_000) <= 12, `at most ${most(calls, 1_000)} calls in a second`);
});

/** The most calls that came in within a span, milliseconds. */
function most(calls: readonly AuditEvent[], span: number): number {
  const times = calls.map(({ time }) => time);
  return Math.max(
    ...times.map((from) => times.filter((time) => time >= from && time < from + span).length),
  );
}
