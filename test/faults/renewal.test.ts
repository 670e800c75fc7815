import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { ask, askUntilGiven, type Cluster, given, holds, startCluster, total } from './cluster.ts';

// Sessions are renewed before anybody has to wait for them: those that are wanted, and not all
// at once. What is too near its end is served to nobody.

/** The least that credentials are good for when they are served. */
const MIN_TIME_LEFT = 15_000;
/** `Expiration` is in whole seconds, and an answer takes a moment. */
const ROUNDING = 1_000;

t.jobs = 4;

/** Renewals by service account. */
function renewals(cluster: Cluster, serviceAccount: string): number {
  return cluster.calls(serviceAccount).filter(({ status }) => status === 200).length - 1;
}

/** How long the credentials of an answer are still good. */
function left({ body }: { body: { Expiration: string } }): number {
  return Date.parse(body.Expiration) - Date.now();
}

t.test('only what is wanted is renewed', { buffered: true }, async (t) => {
  // Of 40 s they are served for 25, and renewed after 16 to 20.
  const cluster = await startCluster(t, { sessionLifetime: 40_000 });
  cluster.associate('wanted', 'once', 'gone');
  const broker = await cluster.broker();
  const { token } = cluster.pod('wanted');
  const once = cluster.pod('once');
  const gone = cluster.pod('gone');
  for (const one of [once, gone]) await given(t, broker, one.token);
  const started = performance.now();
  await given(t, broker, token);
  const keys = new Set<string>();
  let least = Number.POSITIVE_INFINITY;
  while (performance.now() - started < 27_000) {
    const reply = await ask(broker, token);
    if (reply.status !== 200) t.fail(`answered ${reply.status}`);
    if (keys.size > 0 && !keys.has(reply.body.AccessKeyId)) {
      t.ok(reply.took < 1_000, 'nobody waits for a renewal');
    }
    keys.add(reply.body.AccessKeyId);
    least = Math.min(least, left(reply));
    await pause(100);
  }
  t.equal(renewals(cluster, 'wanted'), 1);
  t.equal(keys.size, 2, 'the next credentials took the place of the first');
  t.ok(least > 40_000 - 20_000 - 3_000, `renewed with ${Math.round(least / 1_000)} s left`);
  t.equal(renewals(cluster, 'once'), 0, 'nobody has asked for it a second time');
  t.equal(renewals(cluster, 'gone'), 0);
  const sessions = await total(broker, 'pod_identity_broker_sessions');
  t.equal(sessions, 1, 'what nobody wants is let go when it can be served no more');
  const late = await given(t, broker, once.token);
  t.equal(renewals(cluster, 'once'), 1, 'who comes back has it fetched');
  t.ok(left(late) > 35_000);
});

t.test('15 s before its end it is served to nobody', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { sessionLifetime: 30_000 });
  cluster.associate('web');
  const broker = await cluster.broker();
  const pods = [1, 2].map(() => cluster.pod('web'));
  await given(t, broker, pods[0]?.token as string);
  cluster.simulator.faults.add({ kind: 'unavailable' });
  let least = Number.POSITIVE_INFINITY;
  let told: Awaited<ReturnType<typeof ask>> | undefined;
  while (told === undefined) {
    for (const { token } of pods) {
      const reply = await ask(broker, token);
      if (reply.status === 200) least = Math.min(least, left(reply));
      else told ??= reply;
    }
    await pause(100);
  }
  t.ok(least > MIN_TIME_LEFT - ROUNDING, `at least ${least} ms were left`);
  t.ok(least < MIN_TIME_LEFT + 2_000, 'and until then it was served');
  t.match(told, { status: 503, body: { code: 'ServiceUnavailableException' } });
  cluster.simulator.faults.clear();
  t.ok(
    await holds(async () => (await ask(broker, pods[0]?.token as string)).status === 200, 6_000),
    'and it comes back',
  );
});

t.test('what was fetched together is not renewed together', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { keyAlgorithm: 'ES256' });
  cluster.associate('web');
  const broker = await cluster.broker({
    args: [
      '--session-scope=pod',
      '--max-service-qps=1000',
      '--max-credential-retention-before-renewal=10s',
    ],
  });
  const tokens = Array.from({ length: 100 }, () => cluster.pod('web').token);
  for (let round = 0; round < 2; round += 1) {
    const replies = await Promise.all(
      tokens.map((token) => askUntilGiven(broker, token, { within: 15_000, every: 200 })),
    );
    t.ok(replies.every(({ status }) => status === 200));
  }
  t.ok(await holds(() => cluster.calls().length >= 200, 15_000), 'all are renewed');
  const calls = cluster.calls();
  const fetched = calls.slice(0, 100).map(({ time }) => time);
  const renewed = calls.slice(100, 200).map(({ time }) => time);
  const span = (times: readonly number[]) => (times.at(-1) as number) - (times[0] as number);
  // A fifth of 10 s, and what the fetches were apart themselves.
  t.ok(span(renewed) > 1_500, `${span(renewed)} ms, after ${span(fetched)} ms`);
  const first = (renewed[0] as number) - (fetched.at(-1) as number);
  t.ok(first > 8_000 - span(fetched) - 500, `not before their time: ${first} ms`);
  t.ok((renewed.at(-1) as number) - (fetched[0] as number) < 13_000, 'nor after it');
  const quarters = [0, 1, 2, 3].map((quarter) => {
    const from = (renewed[0] as number) + (quarter * span(renewed)) / 4;
    return renewed.filter((time) => time >= from && time <= from + span(renewed) / 4).length;
  });
  t.ok(
    quarters.every((count) => count >= 8),
    `evenly: ${quarters}`,
  );
});

t.test('pods that rotate their tokens keep a session alive', { buffered: true }, async (t) => {
  // Tokens of 8 s, sessions that are renewed every 3 s: a renewal needs a token that still lives.
  const cluster = await startCluster(t, { tokenLifetime: 8_000 });
  cluster.associate('web');
  const broker = await cluster.broker({
    args: ['--max-credential-retention-before-renewal=3s'],
  });
  const pods = [1, 2].map(() => cluster.pod('web'));
  const started = performance.now();
  for (let round = 0; performance.now() - started < 20_000; round += 1) {
    for (const pod of pods) {
      if (round % 16 === 15) pod.rotate();
      const { status, body } = await ask(broker, pod.token);
      if (status !== 200) t.fail(`answered ${status}: ${JSON.stringify(body)}`);
    }
    await pause(300);
  }
  const calls = cluster.calls();
  t.ok(renewals(cluster, 'web') >= 4, `${renewals(cluster, 'web')} renewals`);
  t.strictSame(
    calls.filter(({ status }) => status !== 200),
    [],
    'none with a token that has expired',
  );
});

t.test('a session whose pods are gone is not renewed for them', { buffered: true }, async (t) => {
  // Its last token has expired when it is due: nothing to renew it with, nobody to want it.
  const cluster = await startCluster(t, { tokenLifetime: 5_000, sessionLifetime: 40_000 });
  cluster.associate('web');
  const broker = await cluster.broker({
    args: ['--max-credential-retention-before-renewal=7s'],
  });
  const { token } = cluster.pod('web');
  await given(t, broker, token);
  t.equal((await ask(broker, token)).status, 200);
  // Real seconds, because they are the subject: beyond the end of the token, and the due time.
  await pause(12_000);
  t.equal(cluster.calls().length, 1, 'no call with a token that has expired');
  const next = cluster.pod('web').token;
  t.equal((await ask(broker, next)).status, 200, 'the next pod is served');
  t.ok(await holds(() => renewals(cluster, 'web') === 1, 3_000), 'and has it renewed');
});
