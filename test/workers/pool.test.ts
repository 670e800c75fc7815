import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { type Clock, systemClock } from '../../src/clock.ts';
import type { NodeCredentials } from '../../src/eks-auth/node-credentials.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import type { KeySet } from '../../src/tokens/verify.ts';
import type { WorkerPool } from '../../src/workers/pool.ts';
import { capturedLog } from '../support/captured-log.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { until } from '../support/until.ts';
import { EXPECTED, goodClaims, ISSUER, NOW, signingKey, token } from '../tokens/signed-tokens.ts';
import { startPool } from './worker-pool.ts';

const key = signingKey('RS256', 'the-key');
const keys: KeySet = { id: 1, issuer: ISSUER, jwks: { keys: [key.jwk] } };

function verify(pool: WorkerPool, text: string, now = NOW) {
  return pool.verify({ token: text, keys, expected: EXPECTED, now });
}

t.test('verify, on a thread', async (t) => {
  const pool = await startPool(t);
  t.equal(pool.ready, true);
  t.match(await verify(pool, token(goodClaims(), key)), {
    verdict: 'verified',
    kid: 'the-key',
    pod: { namespace: 'shop', serviceAccount: 'cart', pod: 'cart-0', expiresAt: NOW + 86_400_000 },
  });
  t.match(await verify(pool, 'no token'), { verdict: 'unfit' });
  t.match(await verify(pool, token(goodClaims(), signingKey('RS256', 'the-key'))), {
    verdict: 'unproven',
    cause: 'bad-signature',
  });
  t.match(await verify(pool, token(goodClaims(), key), NOW + 2 * 86_400_000), { verdict: 'unfit' });
  const other = signingKey('RS256', 'the-key');
  const rotated = { id: 2, issuer: ISSUER, jwks: { keys: [other.jwk] } };
  const task = { token: token(goodClaims(), other), expected: EXPECTED, now: NOW };
  t.match(await pool.verify({ ...task, keys: rotated }), { verdict: 'verified' }, 'keys change');
});

t.test('verify, many at once on several threads', async (t) => {
  const pool = await startPool(t, {}, { threads: 2 });
  const texts = Array.from({ length: 300 }, (_, index) =>
    token(goodClaims({ jti: String(index) }), key),
  );
  const verdicts = await Promise.all(texts.map((text) => verify(pool, text)));
  t.ok(verdicts.every(({ verdict }) => verdict === 'verified'));
});

/** A simulated EKS with one association, and a pool that calls it. */
async function cluster(
  t: Tap,
  options: Parameters<typeof startSimulator>[0] = {},
  settings: Parameters<typeof startPool>[1] = {},
) {
  const simulator = await startSimulator({ keyAlgorithm: 'ES256', ...options });
  t.teardown(() => simulator.close());
  simulator.associations.create({
    namespace: 'shop',
    serviceAccount: 'cart',
    roleArn: 'arn:aws:iam::111122223333:role/cart',
  });
  const pool = await startPool(t, { endpoint: simulator.url, ...settings });
  return { simulator, pool };
}
type Tap = Parameters<typeof startPool>[0];

function assumeRole(pool: WorkerPool, simulator: Simulator, text: string) {
  return pool.assumeRole({ token: text, region: simulator.region, credentials: nodeOf(simulator) });
}

/** The node's own credentials, which are those of a user. */
function nodeOf({ nodeCredentials }: Simulator): NodeCredentials {
  const { accessKeyId, secretAccessKey } = nodeCredentials;
  return { accessKeyId, secretAccessKey };
}

t.test('assumeRole, against EKS', async (t) => {
  const { simulator, pool } = await cluster(t);
  const pod = simulator.kubelet.createPod({ namespace: 'shop', serviceAccount: 'cart' });
  const outcome = await assumeRole(pool, simulator, pod.token);
  t.match(outcome, {
    ok: true,
    role: {
      subject: { namespace: 'shop', serviceAccount: 'cart' },
      audience: 'pods.eks.amazonaws.com',
      assumedRoleArn: /:assumed-role\/cart\/eks-simulated-/,
      accessKeyId: /^ASIA/,
    },
  });
  t.ok(outcome.ok && Math.abs(outcome.role.expiresAt - Date.now() - 6 * 3_600_000) < 60_000);
  t.ok(Math.abs((outcome.serviceTime ?? 0) - Date.now()) < 5_000, "the service's time");

  const stranger = simulator.kubelet.createPod({ namespace: 'shop', serviceAccount: 'nobody' });
  t.match(await assumeRole(pool, simulator, stranger.token), {
    ok: false,
    failure: { kind: 'refused', code: 'ResourceNotFoundException', status: 404 },
  });
  t.match(await assumeRole(pool, simulator, simulator.kubelet.mint({ pod, lifetimeMs: -1_000 })), {
    ok: false,
    failure: { kind: 'token', code: 'ExpiredTokenException', status: 400 },
  });
  simulator.faults.add({ kind: 'throttle', calls: 1 });
  t.match(await assumeRole(pool, simulator, pod.token), {
    ok: false,
    failure: { kind: 'throttled', code: 'ThrottlingException', status: 429 },
  });
  simulator.faults.add({ kind: 'half-body', calls: 1 });
  const half = await assumeRole(pool, simulator, pod.token);
  t.equal(half.ok, false);
  t.ok((await assumeRole(pool, simulator, pod.token)).ok, 'one attempt a task, and no more');
  t.equal(simulator.counts().assumeRole.calls, 6);
});

t.test('assumeRole, signed with the credentials that come with each task', async (t) => {
  const { simulator, pool } = await cluster(t);
  const { token: text } = simulator.kubelet.createPod({
    namespace: 'shop',
    serviceAccount: 'cart',
  });
  const { region } = simulator;
  const nodeCredentials = nodeOf(simulator);
  const wrong = { ...nodeCredentials, secretAccessKey: 'not-the-right-one' };
  const task = { token: text, region };
  t.match(await pool.assumeRole({ ...task, credentials: wrong }), {
    ok: false,
    failure: { kind: 'node-credentials', status: 403 },
  });
  t.match(await pool.assumeRole({ ...task, credentials: nodeCredentials }), { ok: true });
  t.match(
    await pool.assumeRole({ ...task, region: 'eu-west-1', credentials: nodeCredentials }),
    { ok: false, failure: { kind: 'node-credentials' } },
    'another region signs otherwise',
  );
  t.match(await pool.assumeRole({ ...task, credentials: nodeCredentials }), { ok: true });
});

t.test('assumeRole, with nobody there', async (t) => {
  const pool = await startPool(t, { endpoint: 'http://127.0.0.1:1' });
  const credentials = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'example' };
  t.match(await pool.assumeRole({ token: 'a.b.c', region: 'us-east-1', credentials }), {
    ok: false,
    failure: { kind: 'network', code: 'ECONNREFUSED' },
    serviceTime: undefined,
  });
});

t.test('calls that wait for EKS Auth hold up no verification', async (t) => {
  // Nothing is answered before the end of the test, however slow the machine.
  const { simulator, pool } = await cluster(
    t,
    { latency: 600_000 },
    { attemptTimeout: 600_000, connectTimeout: 60_000 },
  );
  const pods = Array.from({ length: 200 }, () =>
    simulator.kubelet.createPod({ namespace: 'shop', serviceAccount: 'cart' }),
  );
  let ended = 0;
  const calls = pods.map((pod) =>
    assumeRole(pool, simulator, pod.token)
      .catch(() => undefined)
      .then(() => {
        ended += 1;
      }),
  );
  await until(() => simulator.counts().inFlight >= 100 || ended > 0, 'calls are under way');

  const text = token(goodClaims(), key);
  const verdicts = await Promise.all(Array.from({ length: 100 }, () => verify(pool, text)));
  t.ok(verdicts.every(({ verdict }) => verdict === 'verified'));
  t.equal(ended, 0, 'all calls are still under way');
  await pool.close();
  await Promise.all(calls);
  t.equal(ended, calls.length, 'a pool that closes leaves nobody waiting');
});

const TASKS = new URL('hostile-tasks.ts', import.meta.url);

/** A pool whose tasks misbehave. */
async function hostile(t: Tap, { threads = 1, clock = systemClock as Clock } = {}) {
  let replaced = 0;
  const { log, lines } = capturedLog();
  const pool = await startPool(
    t,
    { clusterName: 'prod' },
    { threads, clock, tasks: TASKS, log, onReplaced: () => (replaced += 1) },
  );
  const run = (what: string) => verify(pool, what) as Promise<unknown>;
  return { pool, run, lines, replaced: () => replaced };
}

t.test('a task that throws fails alone', async (t) => {
  const { run, replaced } = await hostile(t);
  await t.rejects(run('throw'), { message: 'thrown by the task' });
  t.match(await run('well'), { token: 'well', clusterName: 'prod', begun: 4 }, 'after three tries');
  t.equal(replaced(), 0);
});

t.test('a task that ends every thread fails, and leaves threads behind', async (t) => {
  const { pool, run, replaced } = await hostile(t);
  await t.rejects(run('exit'));
  t.equal(replaced(), 3);
  t.match(await run('well'), { token: 'well' });
  t.equal(pool.ready, true);
});

for (const what of ['exit', 'memory', 'hang']) {
  t.test(`a thread that ends by ${what} is replaced; what it did is done again`, async (t) => {
    const { pool, run, replaced } = await hostile(t);
    // At once: a thread that hangs in its first task has given few signs of life before.
    const asked = ['before', `${what} once`, 'after', 'and after'];
    const results = await Promise.all(asked.map(run));
    t.match(
      results,
      asked.map((token) => ({ token })),
    );
    t.equal(replaced(), 1);
    t.equal(pool.ready, true);
  });
}

const notLinux = process.platform !== 'linux' && 'threads have a priority each on Linux alone';
/** This process's threads, with the nice value of each and the CPU that it has used, in ms. */
function threads() {
  return readdirSync('/proc/self/task').map((task) => {
    const stat = readFileSync(`/proc/self/task/${task}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const used = 10 * (Number(fields[11]) + Number(fields[12]));
    return { name: stat.slice(0, stat.lastIndexOf(')')), nice: Number(fields[16]), used, task };
  });
}

t.test('a thread that hangs is noticed within 0.8 s', { skip: notLinux }, async (t) => {
  const clock = new ManualClock();
  const { run, lines } = await hostile(t, { clock });
  const result = run('hang once');
  const cpu = () => {
    const workers = threads().filter(({ name }) => /WorkerThread/.test(name));
    return Math.max(...workers.map(({ used }) => used));
  };
  const spends = async (more: number) => {
    const before = cpu();
    await until(() => cpu() - before >= more, 'the thread hangs');
  };
  // Its latest sign of life is seen by then; from here on it computes and gives none.
  await spends(200);
  await clock.advance(200);
  await spends(200);
  const noticed = () => lines.some(({ msg }) => /^worker thread hangs/.test(String(msg)));
  await clock.advance(600);
  t.notOk(noticed(), 'it has 0.6 s');
  await clock.advance(200);
  t.ok(noticed());
  t.match(await result, { token: 'hang once' });
});

t.test('a thread that is busy with many tasks is not one that hangs', async (t) => {
  const { run, replaced, lines } = await hostile(t);
  // Twice as long as a thread may be silent, in one turn of its loop.
  const results = await Promise.all(Array.from({ length: 120 }, () => run('busy')));
  t.equal(results.length, 120);
  t.equal(replaced(), 0);
  t.strictSame(lines, []);
});

t.test('a token that ends every thread takes none of its batch along', async (t) => {
  const { run } = await hostile(t);
  const asked = ['before', 'exit', 'after', 'and after'];
  const results = await Promise.allSettled(asked.map(run));
  t.strictSame(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
  );
});

t.test('worker threads stand back for the main thread', { skip: notLinux }, async (t) => {
  await startPool(t, {}, { threads: 2 });
  // The pool is ready with its first thread.
  await until(
    () =>
      threads().filter(({ name, nice }) => /WorkerThread/.test(name) && nice === 5).length === 2,
    () => `two threads that stand back: ${JSON.stringify(threads())}`,
  );
  t.equal(threads().find(({ task }) => task === String(process.pid))?.nice, 0, 'it alone does not');
});

t.test('threads that cannot start say so', async (t) => {
  const tasks = new URL('no-such-tasks.ts', import.meta.url);
  await t.rejects(startPool(t, {}, { tasks }));
});
