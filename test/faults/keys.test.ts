import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Fault } from '../../src/simulator/faults.ts';
import { generateIssuerKey } from '../../src/simulator/issuer-keys.ts';
import { type BrokerProcess, startBroker } from '../support/broker-process.ts';
import {
  ask,
  askAs,
  type Cluster,
  type ClusterBrokerOptions,
  given,
  holds,
  NAMESPACE,
  SDK,
  startCluster,
  total,
} from './cluster.ts';

// The issuer's keys change, cannot be had, or are wrong. Who was believed goes on being believed,
// who cannot be judged here is judged by EKS Auth, within a budget; nobody else ever is.

t.jobs = 4;

const keysAre = ({ msg }: { msg: string }) => msg === 'token issuer keys loaded';
const noSource = ({ msg }: { msg: string }) => msg === 'no source gave keys';

/** How often the simulator's keys were asked for. */
function fetches({ simulator }: Cluster): number {
  return simulator.audit.events({ operation: 'GetKeys' }).length;
}

/** A token that no key of the issuer has signed, under a key id that it has. */
function forged({ simulator }: Cluster, serviceAccount: string): string {
  const pod = simulator.kubelet.createPod({ namespace: NAMESPACE, serviceAccount });
  return simulator.kubelet.mint({ pod, foreignKey: true });
}

t.test('keys are rotated, and the old one is withdrawn', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const { simulator } = cluster;
  cluster.associate('web');
  const broker = await cluster.broker();
  const [old, other] = [cluster.pod('web').token, cluster.pod('web').token];
  await given(t, broker, old);
  await given(t, broker, other);
  const first = simulator.issuerKeys.current.kid;
  t.equal(fetches(cluster), 1);

  const second = simulator.issuerKeys.rotate();
  const young = cluster.pod('web').token;
  t.equal((await ask(broker, young)).status, 200, 'the first token of a new key brings the key');
  t.equal(fetches(cluster), 2);
  t.match(broker.logs().findLast(keysAre)?.kids, [second, first]);
  t.equal((await ask(broker, old)).status, 200, 'both are good while both are published');
  t.equal(cluster.calls().length, 1, 'and all the while it was one call');

  // The next fetch is due with the next unknown key, 30 s after the last at the soonest, or
  // after 10 minutes: a new broker stands for both.
  simulator.issuerKeys.withdraw(first);
  const next = await cluster.broker();
  t.equal((await ask(next, young)).status, 200);
  for (const token of [old, other]) {
    t.match(await ask(next, token), { status: 400, body: { message: /does not publish \(kid\)/ } });
  }
  t.equal((await ask(next, forged(cluster, 'web'))).status, 400);
  t.strictSame(cluster.calls().length, 2, 'tokens of a withdrawn key cause no call');
});

t.test(
  'a withdrawn key takes the tokens with it that it had proven',
  { buffered: true },
  async (t) => {
    const cluster = await startCluster(t);
    const { simulator } = cluster;
    cluster.associate('web');
    const broker = await cluster.broker();
    const old = [1, 2, 3].map(() => cluster.pod('web').token);
    for (const token of old) await given(t, broker, token);
    const first = simulator.issuerKeys.current.kid;
    // Both at once: a fetch that brings the new key no longer brings the old one.
    simulator.issuerKeys.rotate();
    simulator.issuerKeys.withdraw(first);
    t.equal((await ask(broker, old[0] as string)).status, 200, 'until the keys are fetched');
    const young = cluster.pod('web').token;
    t.equal((await ask(broker, young)).status, 200);
    t.ok(
      await holds(
        async () => (await total(broker, 'pod_identity_broker_verified_tokens')) === 1,
        3_000,
      ),
      'what the old key had proven is forgotten',
    );
    for (const token of old) {
      const { status, body } = await ask(broker, token);
      // The new set shares no key with the old: it may refuse once it has verified a token.
      t.equal(status, 400, body.message);
    }
    t.equal((await ask(broker, young)).status, 200);
  },
);

t.test('a key that signs before it is published', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const { simulator } = cluster;
  cluster.associate('web');
  const broker = await cluster.broker();
  await given(t, broker, cluster.pod('web').token);
  simulator.issuerKeys.rotate({ publish: false });
  const early = cluster.pod('web').token;
  t.equal((await ask(broker, early)).status, 400, 'nobody can tell it from a forged one');
  t.equal(fetches(cluster), 2, 'the keys were fetched again for it');
  const crowd = await Promise.all(
    Array.from({ length: 50 }, () => ask(broker, cluster.pod('web').token)),
  );
  t.strictSame(new Set(crowd.map(({ status }) => status)), new Set([400]));
  t.equal(fetches(cluster), 2, 'once in 30 s, however many unknown keys there are');
  t.equal(cluster.calls().length, 1);
});

t.test('slow at the start: who is cold waits for them', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  cluster.simulator.faults.add({
    service: 'issuer',
    kind: 'slow',
    delay: 800,
    document: 'keys',
    calls: 1,
  });
  const broker = await cluster.broker({ args: ['--client-wait=15s'], waitForKeys: false });
  const replies = await Promise.all([1, 2, 3].map(() => ask(broker, cluster.pod('web').token)));
  for (const { status } of replies) t.equal(status, 200);
  t.equal(cluster.calls().length, 1, 'they share a session: their tokens were verified');
  t.equal(await total(broker, 'pod_identity_broker_unverified_calls_total'), 0);
});

t.test('unreachable at the start: token scope, within a budget', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const { simulator } = cluster;
  cluster.associate('web');
  const id = simulator.faults.add({ service: 'issuer', kind: 'unavailable' });
  const broker = await cluster.broker({
    waitForKeys: false,
    // All of loopback is one source: what tells sources apart is tested without a network.
    args: ['--max-unverified-qps=10', '--max-unverified-qps-per-address=3'],
  });
  t.match(await broker.logged(noSource), { level: 'warn', failures: [/answered 503/] });
  const started = performance.now();
  const pods = Array.from({ length: 6 }, () => cluster.pod('web'));
  const from = (index: number) => ({ from: `127.0.2.${index + 1}` });
  const replies = await Promise.all(
    pods.map(({ token }, index) => askAs(SDK.botocore, broker, token, from(index))),
  );
  const seconds = (performance.now() - started) / 1_000;
  for (const { status, body } of replies) t.equal(status, 200, body.message);
  t.equal(new Set(replies.map(({ body }) => body.AccessKeyId)).size, 6, 'nobody shares');
  t.equal(cluster.calls().length, 6);
  t.ok(seconds > 0.8, `at 3 calls a second: ${seconds.toFixed(1)} s`);
  t.ok((await total(broker, 'pod_identity_broker_unverified_calls_total')) >= 6, 'it shows');
  t.equal((await ask(broker, pods[0]?.token as string)).status, 200, 'served from memory');
  t.equal(cluster.calls().length, 6);

  // A pod that sends token after token, none of which EKS Auth accepts, and each over and over.
  const tokens = Array.from({ length: 12 }, () => forged(cluster, 'web'));
  const before = cluster.calls().length;
  const floodedAt = performance.now();
  await Promise.all(
    tokens.map(async (token) => {
      while (performance.now() - floodedAt < 6_000) {
        const { status } = await ask(broker, token, { from: '127.0.3.1' });
        if (status === 200) t.fail('a forged token is accepted');
        await pause(20);
      }
    }),
  );
  const calls = cluster.calls().length - before;
  const allowed = 3 + 3 * ((performance.now() - floodedAt) / 1_000);
  t.ok(calls <= allowed + 1, `${calls} calls of one address, ${allowed.toFixed(1)} allowed`);

  simulator.faults.clear(id);
  await broker.logged(keysAre);
  const after = await ask(broker, cluster.pod('web').token);
  t.equal(after.status, 200);
  t.ok(
    replies.some(({ body }) => body.AccessKeyId === after.body.AccessKeyId),
    'with keys, what was fetched for one is for all',
  );
  t.equal((await ask(broker, tokens[0] as string)).status, 400, 'and forgeries are known as such');
});

t.test('unreachable later: known keys go on', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const { simulator } = cluster;
  cluster.associate('web');
  const broker = await cluster.broker();
  await given(t, broker, cluster.pod('web').token);
  simulator.faults.add({ service: 'issuer', kind: 'reset' });
  t.equal((await ask(broker, cluster.pod('web').token)).status, 200, 'a new token verifies');
  simulator.issuerKeys.rotate();
  const young = cluster.pod('web').token;
  const told = await ask(broker, young);
  t.match(
    told,
    { status: 503, body: { code: 'KeysUnavailable' } },
    'a key that cannot be looked up may be good: try again',
  );
  t.match(await broker.logged(noSource), { level: 'warn', keysKept: true });
  t.equal((await ask(broker, cluster.pod('web').rotate())).status, 503);
  t.equal((await ask(broker, forged(cluster, 'web'))).status, 503);
  t.equal(cluster.calls().length, 1, 'nobody is let through to EKS Auth meanwhile');
});

for (const [what, foreign] of [
  ['another key under an unknown id', false],
  ['another key under the same id', true],
] as const) {
  t.test(`wrong keys refuse nobody: ${what}`, { buffered: true }, async (t) => {
    const cluster = await startCluster(t);
    cluster.associate('web');
    const { jwk } = generateIssuerKey('RS256');
    const { kid } = foreign ? cluster.simulator.issuerKeys.current : jwk;
    const file = join(t.testdir({}), 'jwks.json');
    writeFileSync(file, JSON.stringify({ keys: [{ ...jwk, kid }] }));
    const broker = await cluster.broker({ args: [`--jwks-file=${file}`] });
    const pods = [1, 2].map(() => cluster.pod('web'));
    for (const [index, { token }] of pods.entries()) {
      const reply = await askAs(SDK.botocore, broker, token, { from: `127.0.4.${index + 1}` });
      t.equal(reply.status, 200, 'EKS Auth is the judge');
    }
    t.equal(cluster.calls().length, 2, 'and nobody shares');
    t.equal((await askAs(SDK.singleTry, broker, forged(cluster, 'web'))).status, 400);
  });
}

for (const fault of [
  { kind: 'garbage' },
  { kind: 'endless' },
  { kind: 'redirect' },
  { kind: 'half-body' },
  { kind: 'black-hole' },
  { kind: 'not-found' },
] as const satisfies Omit<Fault, 'service'>[]) {
  t.test(`a source that answers with ${fault.kind}`, { buffered: true }, async (t) => {
    const cluster = await startCluster(t);
    const { simulator } = cluster;
    cluster.associate('web');
    const id = simulator.faults.add({ service: 'issuer', ...fault, document: 'keys' });
    // The fixed address is asked first, and gives way to the issuer's own discovery.
    const broker = await cluster.broker({
      waitForKeys: false,
      args: [`--jwks-uri=${simulator.issuer}/keys`],
    });
    t.match((await broker.logged(noSource)).failures, [/\/keys /, /\/keys /]);
    const { token } = cluster.pod('web');
    t.equal((await askAs(SDK.botocore, broker, token)).status, 200, 'EKS Auth is the judge');
    simulator.faults.clear(id);
    await broker.logged(keysAre);
    t.equal((await ask(broker, cluster.pod('web').token)).status, 200);

    // What is known goes on when it happens later.
    simulator.faults.add({ service: 'issuer', ...fault, document: 'keys' });
    simulator.issuerKeys.rotate({ publish: false });
    await askAs(SDK.singleTry, broker, cluster.pod('web').token);
    t.equal((await ask(broker, token)).status, 200);
    const redirected = simulator.audit.events({ operation: 'GetKeys' });
    t.ok(redirected.length <= 12, 'asked again within reason');
    t.equal(await broker.probe('healthz'), 200);
    if (fault.kind === 'endless') {
      const bytes = memoryOf(broker);
      t.ok(bytes < 300 * 1024 * 1024, `${Math.round(bytes / 1024 / 1024)} MiB`);
    }
  });
}

t.test('kept over a restart', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const { simulator } = cluster;
  cluster.associate('web');
  const cache = keyCache(t);
  const start = (options: ClusterBrokerOptions = {}) =>
    cluster.broker({ args: [`--jwks-cache=${cache.file}`], ...options });
  const first = await start();
  await given(t, first, cluster.pod('web').token);
  t.ok(await holds(() => cache.mode() === 0o600, 2_000), 'for nobody else to write');
  t.equal(cache.folderMode(), 0o700);
  await first.stop('SIGKILL');

  simulator.faults.add({ service: 'issuer', kind: 'unavailable' });
  const second = await start();
  t.match(second.logs().find(keysAre), { source: 'kept by an earlier run' });
  const shared = await Promise.all([1, 2, 3].map(() => given(t, second, cluster.pod('web').token)));
  t.equal(new Set(shared.map(({ body }) => body.AccessKeyId)).size, 1, 'sharing goes on');
  t.equal(cluster.calls().length, 2, 'one call of each broker');
  t.equal((await ask(second, forged(cluster, 'web'))).status, 400);
  await second.stop();

  for (const [name, spoil, reason] of [
    ['a file that others may write', () => chmodSync(cache.file, 0o666), /mode 666/],
    ['a file that others may read', () => chmodSync(cache.file, 0o644), /mode 644/],
    ['a folder that others may write', () => chmodSync(cache.folder, 0o777), /mode 777/],
    ['what is no cache', () => writeFileSync(cache.file, 'garbage'), /is not JSON/],
  ] as const) {
    spoil();
    const third = await start({ waitForKeys: false });
    t.match(await third.logged(({ msg }) => msg === 'kept keys are not used'), {
      level: 'warn',
      reason,
    });
    await third.logged(noSource);
    t.equal((await askAs(SDK.botocore, third, cluster.pod('web').token)).status, 200, name);
    t.notOk(third.logs().find(keysAre), 'and nothing in it is believed');
    await third.stop();
    chmodSync(cache.folder, 0o700);
    chmodSync(cache.file, 0o600);
  }
});

t.test('an issuer that only a token names is not believed', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const { simulator } = cluster;
  cluster.associate('web');
  const other = await startCluster(t);
  // As the existing chart starts it: nobody has told it an issuer.
  const broker = await startBroker({ t, simulator });
  const foreign = other.pod('web').token;
  t.match(await ask(broker, foreign), { status: 400, body: { code: 'InvalidTokenException' } });
  t.equal(other.simulator.audit.events({ service: 'issuer' }).length, 0, 'it is not even asked');
  const [first, second] = [cluster.pod('web').token, cluster.pod('web').token];
  const before = await given(t, broker, first);
  await broker.logged(keysAre);
  // What the first was given is its own until its token has been verified, too.
  const shared = 'pod_identity_broker_sessions{scope="service-account"}';
  const isShared = async () => (await broker.metrics()).get(shared) === 1;
  t.ok(await holds(isShared, 5_000), 'its credentials are those of its service account');
  t.match(await ask(broker, second), { status: 200, body: before.body }, 'this one is');
  const calls = cluster.calls().length;
  t.match(await ask(broker, other.pod('web').token), {
    status: 400,
    body: { message: /its issuer \(iss\) is not this cluster's/ },
  });
  t.equal(cluster.calls().length, calls);
});

/** A place for kept keys, and what it looks like. */
function keyCache(t: Test) {
  const home = mkdtempSync(join(tmpdir(), 'keys-'));
  t.teardown(() => rmSync(home, { recursive: true }));
  const folder = join(home, 'kept');
  const file = join(folder, 'keys.json');
  const mode = (path: string) => statSync(path, { throwIfNoEntry: false })?.mode;
  return {
    folder,
    file,
    mode: () => (mode(file) ?? 0) & 0o777,
    folderMode: () => (mode(folder) ?? 0) & 0o777,
  };
}

/** Resident memory, bytes (proc_pid_status(5)). */
function memoryOf({ pid }: BrokerProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
}
