import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { ask, askUntilGiven, type Cluster, holds, startCluster } from './cluster.ts';

// The node's clock is off: the simulator's services, and the API server that dates the tokens,
// run ahead of it or behind. EKS Auth refuses signatures that are 5 minutes off.

const MINUTE = 60_000;
/** Sessions of 2 min show within a minute what becomes of those of 6 h. */
const SHORT = 2 * MINUTE;

t.jobs = 3;

for (const minutes of [1, -1]) {
  const offset = minutes * MINUTE;
  const name = `the service is a minute ${minutes > 0 ? 'ahead' : 'behind'}`;
  t.test(name, { buffered: true }, async (t) => {
    const cluster = await startCluster(t, { clockOffset: offset, sessionLifetime: SHORT });
    cluster.associate('web', 'brief');
    const broker = await cluster.broker();
    const serviceNow = () => Date.now() + offset;

    const fresh = cluster.pod('web');
    const first = await ask(broker, fresh.token);
    t.equal(first.status, 200, 'a fresh token is good');
    const told = await broker.logged(({ msg }) => msg === "the node's clock is off");
    t.equal(told.level, 'warn', 'and the operator is told');
    t.ok(Math.abs(told.aheadBySeconds + 60 * minutes) <= 2, `${told.aheadBySeconds} s`);
    t.equal((await ask(broker, cluster.pod('web').token)).status, 200);
    t.equal((await ask(broker, fresh.rotate())).status, 200);
    t.equal(cluster.calls('web').length, 1);

    // 17 s are left by the service's clock, of which 15 are for the pod.
    cluster.simulator.eksAuth.set({ sessionLifetime: 18_000 });
    const { token } = cluster.pod('brief');
    const brief = await ask(broker, token);
    t.equal(brief.status, 200);
    const id = cluster.simulator.faults.add({ kind: 'unavailable', serviceAccount: 'brief' });
    const left = Date.parse(brief.body.Expiration) - serviceNow();
    t.ok(left > 15_000 && left < 18_500, `${left} ms left`);
    const replies = [];
    for (;;) {
      const reply = await ask(broker, token, { timeout: 1_000 });
      if (reply.status !== 200) break;
      replies.push(Date.parse(reply.body.Expiration) - serviceNow());
      await pause(50);
    }
    t.ok(Math.min(...replies) > 14_500, `at least ${Math.min(...replies)} ms when served`);
    t.ok(Math.min(...replies) < 16_500, 'and until then it is served');
    cluster.simulator.faults.clear(id);
    t.ok(await holds(async () => (await ask(broker, token)).status === 200, 5_000));
  });
}

t.test('the service is 10 minutes behind: signing follows it', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { clockOffset: -10 * MINUTE, sessionLifetime: SHORT });
  cluster.associate('web', 'other');
  const broker = await cluster.broker();
  const { token } = cluster.pod('web');
  t.equal((await ask(broker, token)).status, 200, 'within the wait of the first client');
  const [skewed, good, ...others] = cluster.calls('web');
  t.match(skewed, { status: 403, errorCode: 'InvalidSignatureException' });
  t.match(good, { status: 200 });
  t.equal(others.length, 0, 'one call to learn the time, one by the right time');
  t.equal((await ask(broker, cluster.pod('other').token)).status, 200);
  t.strictSame(
    cluster.calls('other').map(({ status }) => status),
    [200],
    'it stays learned',
  );
  // By the node's clock these have expired long ago.
  t.equal((await ask(broker, token)).status, 200);
  t.equal(cluster.calls('web').length, 2, 'and is served from memory');
});

t.test('the service is 10 minutes ahead', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { clockOffset: 10 * MINUTE });
  const { simulator } = cluster;
  cluster.associate('web');
  const broker = await cluster.broker();
  const pod = cluster.pod('web');
  // Such a token says "not before" of a time that is 10 minutes off: nothing here proves that it
  // is the node that is wrong.
  const refused = await ask(broker, pod.token);
  t.match(refused, { status: 400, body: { message: /not valid yet \(nbf\)/ } });
  t.equal(cluster.calls().length, 0);

  const seconds = Math.floor(Date.now() / 1_000);
  const older = simulator.kubelet.mint({ pod, claims: { nbf: seconds - 10, iat: seconds - 10 } });
  t.equal((await ask(broker, older)).status, 200, 'one from before is good');
  t.ok(cluster.calls().length <= 2);
  t.equal((await ask(broker, pod.token)).status, 200, 'from then on, the service is believed');
  t.equal((await ask(broker, cluster.pod('web').token)).status, 200);
  t.ok(cluster.calls().length <= 2);
});

t.test('a clock that is set while the broker runs', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const { simulator } = cluster;
  cluster.associate('before', 'after');
  const broker = await cluster.broker();
  const before = await ask(broker, cluster.pod('before').token);
  t.equal(before.status, 200);
  for (const offset of [-10 * MINUTE, 10 * MINUTE, 0]) {
    simulator.eksAuth.set({ clockOffset: offset });
    const account = `set-${offset / MINUTE + 10}`;
    cluster.associate(account);
    const pod = cluster.pod(account);
    const now = Math.floor((Date.now() - 11 * MINUTE) / 1_000);
    // Old enough for either side of the change.
    const token = simulator.kubelet.mint({ pod, claims: { nbf: now, iat: now } });
    t.equal((await ask(broker, token)).status, 200, `to ${offset / MINUTE} minutes`);
    t.ok(cluster.calls(account).length <= 3, 'EKS Auth is not hammered');
    t.equal((await ask(broker, cluster.pod(account).token)).status, 200, 'fresh tokens are good');
    t.ok(cluster.calls(account).length <= 3);
  }
});

const DAY = 24 * 60 * MINUTE;

/** A way to EKS Auth on which the `Date` of some answers is changed, or all of the answer. */
async function lyingDoor(t: Test, { simulator }: Cluster) {
  const lies: { readonly ahead: number; readonly status?: number }[] = [];
  const { hostname, port } = new URL(simulator.url);
  const server = createServer((asked, answer) => {
    const { method, url: path, headers } = asked;
    const behind = request({ hostname, port, method, path, headers }, (received) => {
      const lie = lies.shift();
      const date = new Date(Date.now() + (lie?.ahead ?? 0)).toUTCString();
      if (lie?.status === undefined) {
        answer.writeHead(received.statusCode as number, { ...received.headers, date });
        received.pipe(answer);
      } else {
        received.resume();
        answer.writeHead(lie.status, { date }).end('<html>not EKS Auth</html>');
      }
    });
    behind.on('error', () => answer.destroy());
    asked.pipe(behind);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, lies };
}

for (const days of [2, -2]) {
  const name = `answers that are dated ${Math.abs(days)} days ${days > 0 ? 'ahead' : 'back'}`;
  t.test(name, { buffered: true }, async (t) => {
    const cluster = await startCluster(t);
    cluster.associate('known', 'new', 'newer');
    const door = await lyingDoor(t, cluster);
    const broker = await cluster.broker({ args: [`--endpoint=${door.url}`] });
    const known = cluster.pod('known');
    t.equal((await ask(broker, known.token)).status, 200);

    // One may be anything; what is not EKS Auth's own answer counts for nothing at all.
    for (const status of [undefined, 502, 403, 404]) {
      door.lies.push({ ahead: days * DAY, ...(status !== undefined && { status }) });
      await ask(broker, cluster.pod('nobody').token);
      t.equal(door.lies.length, 0, `told with ${status ?? 'an error of EKS Auth'}`);
      t.equal((await ask(broker, known.token)).status, 200, 'a known pod is served');
      t.equal((await ask(broker, known.rotate())).status, 200, 'and so is its next token');
    }
    const fresh = await ask(broker, cluster.pod('new').token);
    t.equal(fresh.status, 200, 'as is a new one');

    // Two in a row are believed, and found out by the next.
    for (let count = 0; count < 2; count += 1) door.lies.push({ ahead: days * DAY });
    for (let count = 0; count < 2; count += 1) await ask(broker, cluster.pod('nobody').token);
    t.equal(door.lies.length, 0);
    const before = cluster.calls().length;
    const [again, newer] = await Promise.all(
      [known, cluster.pod('newer')].map(({ token }) =>
        askUntilGiven(broker, token, { within: 8_000, every: 200 }),
      ),
    );
    t.match([again, newer], [{ status: 200 }, { status: 200 }], 'both are served again');
    t.ok(cluster.calls().length - before <= 8, `${cluster.calls().length - before} calls`);
    t.equal((await ask(broker, known.token)).status, 200, 'and stay so');
    const metrics = await broker.metrics();
    const ahead = metrics.get('pod_identity_broker_node_clock_ahead_seconds') as number;
    t.ok(Math.abs(ahead) < 2, `the clock is right again: ${ahead} s`);
  });
}
