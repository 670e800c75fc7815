import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Fault } from '../../src/simulator/faults.ts';
import { createNode } from '../../src/simulator/netns.ts';
import { type Cluster, NAMESPACE, startCluster } from '../faults/cluster.ts';
import { type BrokerProcess, startBroker } from '../support/broker-process.ts';
import { needsNamespaces, needsProgram } from '../support/needs.ts';
import { type Prometheus, startPrometheus } from '../support/prometheus.ts';
import { until } from '../support/until.ts';

// The alert rules that are shipped, on a real Prometheus that scrapes real brokers: each fires in
// the state that it is about, and none on a node that is well.

/** How far back rules look here, and how long something has to hold. */
const WINDOW = '20s';
const FOR = '2s';
/** Plenty, for machines that are busy. */
const WITHIN = 90_000;

/** The rules of the file with shorter times; what they ask for stays the same. */
function shortened(): string {
  const text = readFileSync(
    new URL('../../deploy/observability/alerts.yaml', import.meta.url),
    'utf8',
  );
  return text.replace(/\[\d+[mh]\]/g, `[${WINDOW}]`).replace(/\bfor: \d+[mh]$/gm, `for: ${FOR}`);
}

/** A node whose pods ask all the time. */
interface Node {
  readonly broker: BrokerProcess;
  /** Its label in Prometheus. */
  readonly instance: string;
}

/** Starts a broker; pods of these service accounts, old and new ones, go on asking it. */
async function node(
  t: Test,
  cluster: Cluster,
  serviceAccounts: readonly string[],
  options: Parameters<Cluster['broker']>[0] & { readonly newPods?: boolean } = {},
): Promise<Node> {
  const { newPods = true, ...others } = options;
  cluster.associate(...serviceAccounts);
  const broker = await cluster.broker({ t, ...others });
  let over = false;
  const asking = serviceAccounts.map(async (serviceAccount) => {
    const old = cluster.pod(serviceAccount).token;
    while (!over) {
      const tokens = newPods ? [old, cluster.pod(serviceAccount).token] : [old];
      // Some are answered after seconds, or never: others ask meanwhile.
      for (const token of tokens) void broker.get(token).catch(() => undefined);
      await pause(500);
    }
  });
  t.teardown(async () => {
    over = true;
    await Promise.all(asking);
  });
  return { broker, instance: `127.0.0.1:${broker.metricsPort}` };
}

/** Waits until every target has been scraped so often. */
async function scraped(prometheus: Prometheus, times: number): Promise<void> {
  const holds = async () => {
    const scrapes = await prometheus.query('sum_over_time(up[10m])');
    return scrapes.length > 0 && scrapes.every(({ value }) => value >= times);
  };
  await until(holds, 'scrapes', WITHIN);
}

/** Whether an alert fires on a node. */
async function fires(prometheus: Prometheus, alert: string, { instance }: Node): Promise<boolean> {
  const selector = `alertname="PodIdentityBroker${alert}",instance="${instance}"`;
  return (await prometheus.query(`ALERTS{alertstate="firing",${selector}}`)).length > 0;
}

/** Alerts that a node has had so far, pending or firing, without their common beginning. */
async function had(prometheus: Prometheus, { instance }: Node): Promise<string[]> {
  const series = await prometheus.query(`count_over_time(ALERTS{instance="${instance}"}[10m])`);
  const names = series.map(({ labels }) => labels.alertname ?? '');
  return [...new Set(names)].map((name) => name.replace('PodIdentityBroker', '')).toSorted();
}

const skip = needsProgram('prometheus');

t.test('each alert in its state, and none before', { skip }, async (t) => {
  const cluster = await startCluster(t);
  // Sessions that are below the 15 minutes that are asked for soon after they are not renewed.
  const brief = await startCluster(t, { sessionLifetime: 935_000 });
  const renewing = { args: ['--max-credential-retention-before-renewal=5s'], newPods: false };
  // Each new pod is a call.
  const calling = { args: ['--session-scope=pod'] };
  const keyless = await startCluster(t);
  keyless.simulator.faults.add({ service: 'issuer', kind: 'unavailable' });
  // Somebody else has the port of one of the addresses of a node.
  const intruder = createServer();
  await new Promise<void>((resolve) => intruder.listen(0, '127.0.0.2', resolve));
  t.teardown(() => intruder.close());
  const { port } = intruder.address() as AddressInfo;

  const [well, throttled, down, refused, expiring, denied] = await Promise.all([
    node(t, cluster, ['well']),
    node(t, cluster, ['throttled'], calling),
    node(t, cluster, ['down'], calling),
    node(t, cluster, ['refused'], calling),
    node(t, brief, ['expiring'], renewing),
    node(t, brief, ['denied-1', 'denied-2'], renewing),
  ]);
  const [unverified, bare, halfBound] = await Promise.all([
    node(t, keyless, ['unverified'], { waitForKeys: false }),
    node(t, cluster, ['bare'], {
      env: { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined },
    }),
    node(t, cluster, [], {
      args: ['--bind-hosts=127.0.0.2', `--port=${port}`],
      waitUntilReady: false,
    }),
  ]);
  const wellAtFirst = [well, throttled, down, refused, expiring, denied];
  const prometheus = await startPrometheus(t, {
    targets: [...wellAtFirst, unverified, bare, halfBound].map(({ broker }) => broker.metricsPort),
    rules: shortened(),
  });
  await scraped(prometheus, 8);
  for (const one of wellAtFirst) {
    t.same(await had(prometheus, one), [], 'none on a node that is well');
  }

  const fault = (on: Cluster, serviceAccount: string, one: Fault) =>
    on.simulator.faults.add({ ...one, namespace: NAMESPACE, serviceAccount });
  const outage = fault(cluster, 'down', { kind: 'unavailable' });
  fault(cluster, 'throttled', { kind: 'throttle' });
  fault(cluster, 'refused', { kind: 'access-denied' });
  fault(brief, 'expiring', { kind: 'internal-error' });
  for (const one of ['denied-1', 'denied-2']) {
    // It does not say who is denied what.
    fault(brief, one, { kind: 'error', code: 'AccessDeniedException', status: 400 });
  }
  const expected: readonly (readonly [Node, string, ...string[]])[] = [
    [throttled, 'Throttled'],
    [down, 'EksAuthDown'],
    // These two are also in the state of another alert in the end.
    [expiring, 'SessionsAboutToExpire', 'EksAuthDown'],
    [denied, 'NodeRoleRefused', 'SessionsAboutToExpire'],
    [refused, 'NodeRoleRefused'],
    [bare, 'NodeRoleRefused'],
    [unverified, 'TokenScope'],
    [halfBound, 'AddressLost'],
  ];
  await Promise.all(
    expected.map(async ([one, alert]) => {
      await until(() => fires(prometheus, alert, one), `${alert} on ${one.instance}`, WITHIN);
      t.pass(alert);
    }),
  );

  cluster.simulator.faults.clear(outage);
  intruder.close();
  for (const [one, alert] of [
    [down, 'EksAuthDown'],
    [halfBound, 'AddressLost'],
  ] as const) {
    await until(async () => !(await fires(prometheus, alert, one)), `the end of ${alert}`, WITHIN);
  }
  t.same(await had(prometheus, well), [], 'a node that was well all the time had none');
  for (const [one, alert, ...others] of expected) {
    const alerts = await had(prometheus, one);
    t.same(
      alerts.filter((name) => !others.includes(name)),
      [alert],
      `${alert} and nothing else`,
    );
  }
});

t.test('an address that is taken from the node', { skip: skip || needsNamespaces() }, async (t) => {
  const namespace = await createNode();
  t.teardown(() => namespace.close());
  const folder = mkdtempSync(join(tmpdir(), 'broker-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const broker = await startBroker({
    t,
    node: namespace,
    args: [
      '--cluster-name=simulated',
      '--endpoint=http://127.0.0.1:1',
      `--admin-socket=${folder}/run/admin.sock`,
    ],
    env: { AWS_REGION: 'us-east-1', AWS_EC2_METADATA_DISABLED: 'true' },
  });
  const prometheus = await startPrometheus(t, {
    targets: [broker.metricsPort],
    rules: shortened(),
  });
  const node = { broker, instance: `127.0.0.1:${broker.metricsPort}` };
  await scraped(prometheus, 4);
  t.notOk((await had(prometheus, node)).includes('AddressLost'));
  const removed = namespace.exec('ip', ['link', 'delete', 'pod-id-link0'], { stdio: 'ignore' });
  await once(removed, 'close');
  await until(() => fires(prometheus, 'AddressLost', node), 'AddressLost', WITHIN);
  t.pass('AddressLost');
});
