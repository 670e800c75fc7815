import t from 'tap';
import { askBroker } from '../../src/listener/admin-client.ts';
import { NAMESPACE, roleOf } from '../faults/cluster.ts';
import { runProgram } from '../support/broker-process.ts';
import { needsProgram } from '../support/needs.ts';
import { calling, type Fleet, startFleet } from '../support/redis-fleet.ts';
import { until } from '../support/until.ts';

// Brokers of several nodes that share their sessions: one call to EKS Auth for all of them,
// whatever becomes of the one that makes it.

const skip = needsProgram('redis-server');

const all = (fleet: Fleet, serviceAccount?: string) =>
  Promise.all(fleet.brokers.map((_, index) => fleet.get(index, serviceAccount)));

t.test('a rollout over all nodes makes one call for each service account', { skip }, async (t) => {
  const accounts = ['cart', 'till', 'search'];
  const fleet = await startFleet(t);
  fleet.cluster.associate(...accounts);
  const answers = await Promise.all(
    accounts.flatMap((account) => [...Array(5)].map(() => all(fleet, account))),
  );
  t.ok(answers.flat().every(({ status }) => status === 200));
  for (const account of accounts) {
    t.equal(fleet.cluster.calls(account).length, 1, account);
  }
  t.equal(new Set(answers.flat().map(({ key }) => key)).size, accounts.length);
});

t.test('a slow call is waited for, as long as its broker lives', { skip }, async (t) => {
  const fleet = await startFleet(t, { latency: 4_000, nodes: 3 });
  fleet.cluster.associate('cart');
  const answers = await all(fleet);
  t.ok(answers.every(({ status }) => status === 200));
  t.equal(fleet.cluster.calls().length, 1);
  const metrics = await Promise.all(fleet.brokers.map((broker) => broker.metrics()));
  const outcomes = (name: string) =>
    metrics.reduce(
      (sum, one) =>
        sum + (one.get(`pod_identity_broker_redis_leases_total{outcome="${name}"}`) ?? 0),
      0,
    );
  t.equal(outcomes('taken'), 1);
  t.equal(outcomes('waited'), 2);
  t.equal(outcomes('lost'), 0);
});

t.test('the others take over from a broker that dies in mid-fetch', { skip }, async (t) => {
  const fleet = await startFleet(t, { latency: 3_000, nodes: 3 });
  fleet.cluster.associate('cart');
  const { simulator } = fleet.cluster;
  const lost = fleet.get(0);
  await calling(fleet.brokers[0]);
  const waiting = [fleet.get(1), fleet.get(2)];
  await fleet.brokers[0]?.stop('SIGKILL');
  await lost;
  const answers = await Promise.all(waiting);
  t.ok(answers.every(({ status }) => status === 200));
  t.equal(new Set(answers.map(({ key }) => key)).size, 1);
  // The simulator counts calls when they end, and the first of them ends with its broker.
  t.ok(simulator.counts().assumeRole.calls <= 2);
});

t.test('a call that fails gives way to another node at once', { skip }, async (t) => {
  const fleet = await startFleet(t, { nodes: 2 });
  const { simulator } = fleet.cluster;
  t.match(await fleet.get(0), { status: 404 }, 'no association');
  fleet.cluster.associate('cart');
  t.match(await fleet.get(1), { status: 200 });
  t.equal(simulator.counts().assumeRole.calls, 2);
});

t.test('a flush on one node reaches the others', { skip }, async (t) => {
  const fleet = await startFleet(t, { nodes: 3 });
  fleet.cluster.associate('cart', 'till');
  const before = await all(fleet);
  await all(fleet, 'till');
  t.match(
    await runProgram([
      'flush',
      `--admin-socket=${fleet.brokers[0]?.adminSocket}`,
      '--namespace=shop',
      '--service-account=cart',
    ]),
    { code: 0, stdout: '1 session flushed\n', stderr: '' },
  );
  await until(async () => (await fleet.get(1)).key !== before[1]?.key, 'node 1 has heard of it');
  await until(async () => (await fleet.get(2)).key !== before[2]?.key, 'node 2 has heard of it');
  const after = await all(fleet);
  t.equal(new Set(after.map(({ key }) => key)).size, 1, 'all share what is new');
  t.equal(fleet.cluster.calls('cart').length, 2);
  t.equal(fleet.cluster.calls('till').length, 1, 'the others are left alone');
});

t.test('a flush beats a fetch that began before it elsewhere', { skip }, async (t) => {
  const fleet = await startFleet(t, { latency: 4_000, nodes: 2 });
  fleet.cluster.associate('cart');
  const answer = fleet.get(1);
  await calling(fleet.brokers[1]);
  const socket = fleet.brokers[0]?.adminSocket as string;
  t.match(await askBroker(socket, 'POST', '/flush', {}), { reachedStore: true });
  t.equal(fleet.cluster.calls('cart').length, 0, 'while the first call goes on');
  const { status, key } = await answer;
  t.equal(status, 200);
  const calls = fleet.cluster.calls('cart');
  t.equal(calls.length, 2);
  t.equal(key, calls.at(-1)?.issuedAccessKeyId, 'what the second call brought');
  t.equal((await fleet.get(0)).key, key);
});

t.test('one node renews for all', { skip }, async (t) => {
  const fleet = await startFleet(t, {
    nodes: 3,
    args: ['--max-credential-retention-before-renewal=4s'],
  });
  fleet.cluster.associate('cart');
  const keys = fleet.brokers.map(() => new Set<string>());
  await until(
    async () => {
      for (const [index, { key }] of (await all(fleet)).entries()) keys[index]?.add(key);
      return fleet.cluster.calls().length > 3;
    },
    'three renewals',
    60_000,
  );
  const times = fleet.cluster.calls().map(({ time }) => time);
  for (const [index, time] of times.entries()) {
    // Due after at least four fifths of the time; the audit log counts whole milliseconds.
    if (index > 0) t.ok(time - (times[index - 1] as number) > 3_100, 'one call a lifetime');
  }
  for (const held of keys) t.ok(held.size >= 3, 'every node had each of them');
});

t.test('a role that changes, or is refused, does so on every node', { skip }, async (t) => {
  const fleet = await startFleet(t, {
    nodes: 3,
    // The others would renew in hours.
    own: [['--max-credential-retention-before-renewal=3s']],
  });
  fleet.cluster.associate('cart');
  await all(fleet);
  const { associations } = fleet.cluster.simulator;
  const [association] = associations.list({ namespace: NAMESPACE, serviceAccount: 'cart' });
  const id = association?.associationId as string;
  associations.update(id, { roleArn: roleOf('other') });
  const roles = async () => {
    const answers = await all(fleet);
    const events = fleet.cluster.calls('cart');
    return answers.map(
      ({ key }) =>
        events
          .find(({ issuedAccessKeyId }) => issuedAccessKeyId === key)
          ?.assumedRoleArn?.split('/')[1],
    );
  };
  await until(
    async () => (await roles()).every((role) => role === 'other'),
    'every node has the other role',
  );
  associations.delete(id);
  await until(
    async () => (await all(fleet)).every(({ status }) => status === 404),
    'no node has it any more',
  );
  t.pass('both have reached every node');
});
