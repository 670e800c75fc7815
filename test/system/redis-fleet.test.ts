import t from 'tap';
import { askBroker } from '../../src/listener/admin-client.ts';
import { ask, NAMESPACE, total } from '../faults/cluster.ts';
import type { BrokerProcess } from '../support/broker-process.ts';
import { needsProgram } from '../support/needs.ts';
import { calling, type Fleet, startFleet } from '../support/redis-fleet.ts';
import { until } from '../support/until.ts';

// A whole fleet, a process a node: what sharing promises in numbers.

const skip = needsProgram('redis-server');
/** What the issue promises: 2,000 pods on 20 nodes, of 10 service accounts. */
const NODES = 20;
const PODS = 2_000;
const ACCOUNTS = 10;
/** Renewal is due after this at the latest, and after four fifths of it at the soonest. */
const RENEWED_AFTER = 10_000;
const LIFETIME = 0.8 * RENEWED_AFTER;
const SESSIONS = 'pod_identity_broker_sessions';

/** Names of service accounts that have roles. */
function associated({ cluster }: Fleet, prefix: string): string[] {
  const accounts = Array.from({ length: ACCOUNTS }, (_, index) => `${prefix}-${index}`);
  cluster.associate(...accounts);
  return accounts;
}

/** All pods at once, each from an address of its own; those on the nodes that are meant. */
async function burst(
  { cluster, brokers }: Fleet,
  accounts: readonly string[],
  on: (node: number) => boolean = () => true,
) {
  const pods = Array.from({ length: PODS }, (_, index) => ({
    node: index % NODES,
    serviceAccount: accounts[Math.floor(index / NODES) % ACCOUNTS] as string,
    from: `127.0.${1 + Math.floor(index / 250)}.${1 + (index % 250)}`,
  })).filter(({ node }) => on(node));
  return await Promise.all(
    pods.map(async ({ node, serviceAccount, from }) => {
      const pod = cluster.simulator.kubelet.createPod({
        namespace: NAMESPACE,
        serviceAccount,
        node: `node-${node}`,
      });
      const broker = brokers[node] as BrokerProcess;
      const { status, body } = await ask(broker, pod.token, { from });
      return { serviceAccount, status, key: body?.AccessKeyId as string | undefined };
    }),
  );
}

/** When EKS Auth was called for each of these, in milliseconds, in order. */
const callTimes = ({ cluster }: Fleet, accounts: readonly string[]) =>
  accounts.map((account) => cluster.calls(account).map(({ time }) => time));

t.test('20 nodes, 2,000 pods at once, 10 service accounts', { skip }, async (t) => {
  const fleet = await startFleet(t, {
    nodes: NODES,
    // Twenty brokers and two thousand pods share the cores of one machine with Redis.
    budget: '2s',
    args: [`--max-credential-retention-before-renewal=${RENEWED_AFTER}ms`],
  });
  const { cluster, brokers } = fleet;

  const accounts = associated(fleet, 'rollout');
  const answers = await burst(fleet, accounts);
  t.equal(answers.filter(({ status }) => status === 200).length, PODS);
  // On a machine that is busy the burst may last until the first renewals.
  const firsts = callTimes(fleet, accounts).flatMap(([first = 0, ...others]) => [
    first,
    ...others.filter((time) => time - first < LIFETIME - 100),
  ]);
  t.equal(firsts.length, ACCOUNTS, 'ten calls in all');

  const renewed = () => Math.min(...callTimes(fleet, accounts).map(({ length }) => length));
  await until(
    async () => {
      const all = await Promise.all(
        brokers.flatMap((_, node) => accounts.map((account) => fleet.get(node, account))),
      );
      if (all.some(({ status }) => status !== 200)) t.fail('a pod was refused');
      return renewed() > 2;
    },
    'two renewals of each session',
    60_000,
  );
  const gaps = callTimes(fleet, accounts).flatMap((times) =>
    times.slice(1).map((time, index) => time - (times[index] as number)),
  );
  t.ok(gaps.length >= 2 * ACCOUNTS);
  t.ok(Math.min(...gaps) >= LIFETIME - 100, 'one renewal of a session in each lifetime');

  // The one that dies holds the lease of one service account; its own pods die with its node.
  await askBroker(brokers[0]?.adminSocket as string, 'POST', '/flush', {});
  for (const broker of brokers) {
    await until(async () => (await total(broker, SESSIONS)) === 0, 'nothing is left to be renewed');
  }
  cluster.simulator.eksAuth.set({ latency: 3_000 });
  const others = associated(fleet, 'killed');
  const victim = NODES - 1;
  const lost = fleet.get(victim, others[0]);
  await calling(brokers[victim]);
  const waiting = burst(fleet, others, (node) => node !== victim);
  await brokers[victim]?.stop('SIGKILL');
  await lost;
  const living = await waiting;
  t.equal(living.filter(({ status }) => status === 200).length, PODS - PODS / NODES);
  for (const account of others) {
    const keys = living.filter(({ serviceAccount }) => serviceAccount === account);
    t.equal(new Set(keys.map(({ key }) => key)).size, 1, 'all of them share one session');
  }
  const calls = callTimes(fleet, others).flat().length;
  t.ok(calls <= ACCOUNTS + 1, `${calls} calls with a broker killed in mid-fetch`);
});
