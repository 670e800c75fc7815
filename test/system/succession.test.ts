import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { type Cluster, given, NAMESPACE, roleOf, startCluster } from '../faults/cluster.ts';
import { ask } from '../support/ask.ts';
import { type BrokerProcess, runProgram, startBroker } from '../support/broker-process.ts';
import { needsNamespaces } from '../support/needs.ts';
import { associate, nodeFor } from '../support/node-cluster.ts';

// One broker after another on a node: what an upgrade with a surge pod does.

/** The next version: started beside the broker that runs, ready when it says so. */
async function successor(
  cluster: Cluster,
  before: BrokerProcess,
  args: readonly string[] = [],
): Promise<BrokerProcess> {
  const broker = await startBroker({
    t,
    simulator: cluster.simulator,
    args: [`--token-issuer=${cluster.simulator.issuer}`, ...args],
    succeeds: before,
    waitUntilReady: false,
  });
  await broker.logged(({ msg }) => msg === 'ready');
  return broker;
}

t.test('sessions come along, and the ports change hands', async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web', 'api');
  const first = await cluster.broker();
  const [web, api] = [cluster.pod('web').token, cluster.pod('api').token];
  const held = [await given(t, first, web), await given(t, first, api)];
  t.equal(cluster.calls().length, 2);

  const second = await successor(cluster, first);
  await second.logged(({ msg }) => /taking over/.test(msg));
  t.equal(await second.probe('readyz'), 200);
  t.equal((await second.metrics()).get('pod_identity_broker_handovers_total{result="taken"}'), 1);
  t.equal(await first.stop(), 0);
  await second.logged(({ msg }) => /before this one has ended/.test(msg));
  for (const [index, token] of [web, api].entries()) {
    const { body } = await given(t, second, token);
    t.equal(body.AccessKeyId, held[index]?.body.AccessKeyId, 'the credentials are the same');
  }
  // New pods of the service accounts are given them as well.
  await given(t, second, cluster.pod('web').token);
  t.equal(cluster.calls().length, 2, 'and no call is made');
  t.match(
    (await second.get('not a token')).status,
    400,
    'what comes over proves nothing about tokens',
  );
});

t.test('a flush reaches the broker that has handed over and still answers', async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web', 'api');
  const first = await cluster.broker();
  const [web, api] = [cluster.pod('web').token, cluster.pod('api').token];
  for (const token of [web, api]) await given(t, first, token);
  const before = await given(t, first, api);
  const second = await successor(cluster, first);
  await second.logged(({ msg }) => /taking over/.test(msg));
  const { associations } = cluster.simulator;
  const [found] = associations.list({ namespace: NAMESPACE, serviceAccount: 'web' });
  associations.update(found?.associationId as string, { roleArn: roleOf('other') });
  const args = [`--admin-socket=${first.adminSocket}`, '--namespace', NAMESPACE];
  t.strictSame(await runProgram(['flush', ...args, '--service-account', 'web']), {
    code: 0,
    stdout: '1 session flushed\n',
    stderr: '',
  });
  // Both hold the pods' port: the kernel spreads connections over them.
  const roles = new Map<string, number>();
  for (let tries = 0; tries < 60; tries += 1) {
    const { body } = await given(t, first, web);
    const call = cluster
      .calls('web')
      .find(({ issuedAccessKeyId }) => issuedAccessKeyId === body.AccessKeyId);
    const role = call?.assumedRoleArn?.split('/')[1] ?? 'unknown';
    roles.set(role, (roles.get(role) ?? 0) + 1);
  }
  t.strictSame([...roles.keys()], ['other'], 'nobody is handed the old role');
  t.equal(cluster.calls('web').length, 3, 'each has fetched it once more, so both have answered');
  const after = await given(t, first, api);
  t.equal(after.body.AccessKeyId, before.body.AccessKeyId, 'the others stay');
});

t.test('a flush that is overtaken by the hand-over is not taken for done', async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const first = await cluster.broker();
  await given(t, first, cluster.pod('web').token);
  // Asked before the hand-over, and heard after it.
  const flush = request({
    socketPath: first.adminSocket,
    method: 'POST',
    path: '/flush',
    headers: { 'Content-Length': '2' },
  });
  const answered = once(flush, 'response');
  flush.write('{');
  const second = await successor(cluster, first);
  await second.logged(({ msg }) => /taking over/.test(msg));
  flush.end('}');
  const [response] = (await answered) as [IncomingMessage];
  t.equal(response.statusCode, 503);
  t.match(await text(response), /another broker has taken over/);
  const args = ['flush', `--admin-socket=${first.adminSocket}`];
  t.match(await runProgram(args), { code: 0, stdout: '1 session flushed\n' }, 'that one is asked');
});

t.test('a successor that dies gives everything back', async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const first = await cluster.broker();
  const { token } = cluster.pod('web');
  await given(t, first, token);
  const second = await successor(cluster, first);
  await second.stop('SIGKILL');
  await first.logged(({ msg }) => /took over is gone/.test(msg));
  await given(t, first, token);
  // Its probes and its admin socket are its own again, so that there can be another.
  for (let tries = 0; tries < 100; tries += 1) {
    if ((await first.probe('readyz').catch(() => 0)) === 200) break;
    await pause(50);
  }
  t.equal(await first.probe('readyz'), 200);
  const third = await successor(cluster, first);
  await third.logged(({ msg }) => /taking over/.test(msg));
  t.equal(await first.stop(), 0);
  await given(t, third, token);
  t.equal(cluster.calls().length, 1);
});

t.test('a broker of another cluster is no successor', async (t) => {
  const cluster = await startCluster(t);
  const first = await cluster.broker();
  const other = await startBroker({
    t,
    simulator: cluster.simulator,
    args: ['--cluster-name=another'],
    succeeds: first,
    waitUntilReady: false,
  });
  await other.logged(({ reason }) => /it is of the cluster/.test(reason));
  await first.logged(
    ({ msg }) => msg === 'two brokers run on this node: the new one is no successor',
  );
  t.equal(
    (await first.metrics()).get('pod_identity_broker_handovers_total{result="refused"}'),
    1,
    'which is counted where it is scraped',
  );
  await other.logged(({ msg }) => /port is taken/.test(msg));
  t.equal(await first.probe('readyz'), 200, 'it waits instead of answering beside it');
  t.equal(await first.stop(), 0);
  await other.logged(({ msg }) => msg === 'ready');
});

t.test('a predecessor that hangs for a while hands over after that', async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const first = await cluster.broker();
  const { token } = cluster.pod('web');
  await given(t, first, token);
  process.kill(first.pid, 'SIGSTOP');
  const second = await startBroker({
    t,
    simulator: cluster.simulator,
    args: [`--token-issuer=${cluster.simulator.issuer}`],
    succeeds: first,
    waitUntilReady: false,
  });
  await second.logged(({ reason }) => /no answer within 2 s/.test(reason));
  await second.logged(({ msg }) => /port is taken/.test(msg));
  process.kill(first.pid, 'SIGCONT');
  // Nobody stops it before the new one is ready.
  await second.logged(({ msg }) => /taking over/.test(msg));
  await second.logged(({ msg }) => msg === 'ready');
  t.equal(await first.stop(), 0);
  await given(t, second, token);
  t.equal(cluster.calls().length, 1);
});

t.test('one that hangs until it is killed leaves nothing behind', async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const first = await cluster.broker();
  const { token } = cluster.pod('web');
  process.kill(first.pid, 'SIGSTOP');
  const second = await startBroker({
    t,
    simulator: cluster.simulator,
    args: [`--token-issuer=${cluster.simulator.issuer}`],
    succeeds: first,
    waitUntilReady: false,
  });
  await second.logged(({ msg }) => /port is taken/.test(msg));
  await first.stop('SIGKILL');
  await second.logged(({ msg }) => msg === 'ready');
  await given(t, second, token);
  const third = await successor(cluster, second);
  await third.logged(({ msg }) => /taking over/.test(msg));
  t.equal(await second.stop(), 0);
  await given(t, third, token);
  t.equal(cluster.calls().length, 1);
});

t.test('a successor that hangs and is killed stands in nobody’s way', async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const first = await cluster.broker();
  const { token } = cluster.pod('web');
  await given(t, first, token);
  const start = () =>
    startBroker({
      t,
      simulator: cluster.simulator,
      args: [`--token-issuer=${cluster.simulator.issuer}`],
      succeeds: first,
      waitUntilReady: false,
    });
  const second = await start();
  await second.logged(({ msg }) => /taking over/.test(msg));
  process.kill(second.pid, 'SIGSTOP');
  const third = await start();
  await third.logged(({ msg }) => /port is taken/.test(msg));
  await second.stop('SIGKILL');
  await third.logged(({ msg }) => /taking over/.test(msg));
  await third.logged(({ msg }) => msg === 'ready');
  t.equal(await first.stop(), 0);
  await given(t, third, token);
  t.equal(cluster.calls().length, 1);
});

t.test('a predecessor that died and was started again waits', async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const first = await cluster.broker({ args: ['--ready-id=version-1'] });
  const { token } = cluster.pod('web');
  await given(t, first, token);
  const second = await successor(cluster, first, ['--ready-id=version-2']);
  await first.stop('SIGKILL');
  const again = await startBroker({
    t,
    simulator: cluster.simulator,
    args: [`--token-issuer=${cluster.simulator.issuer}`, '--ready-id=version-1'],
    succeeds: second,
    waitUntilReady: false,
  });
  await again.logged(({ reason }) => /just taken over/.test(reason));
  await again.logged(({ msg }) => /port is taken/.test(msg));
  const path = '/readyz/version-2';
  t.equal((await ask(second.probePort, path, 'GET', {})).status, 200, 'the new one stays ready');
  t.equal(await again.stop(), 0);
  await given(t, second, token);
  t.equal(cluster.calls().length, 1);
});

t.test('a broker whose socket is elsewhere waits, and says what it found', async (t) => {
  const cluster = await startCluster(t);
  const first = await cluster.broker();
  const folder = await mkdtemp(join(tmpdir(), 'broker-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const other = await startBroker({
    t,
    simulator: cluster.simulator,
    args: [`--admin-socket=${folder}/admin.sock`],
    succeeds: first,
    waitUntilReady: false,
  });
  await other.logged(({ level, reason }) => level === 'error' && /it has the port/.test(reason));
  t.equal(await first.stop(), 0);
  await other.logged(({ msg }) => msg === 'ready');
  t.equal((await other.metrics()).get('pod_identity_broker_handovers_total{result="refused"}'), 1);
});

t.test('readiness of a pod is never another one’s', async (t) => {
  const cluster = await startCluster(t);
  const first = await cluster.broker({ args: ['--ready-id=version-1'] });
  const ready = async (id: string) =>
    (await ask(first.probePort, `/readyz/${id}`, 'GET', {}).catch(() => ({ status: 0 }))).status;
  t.equal(await ready('version-1'), 200);
  t.equal(await ready('version-2'), 404, 'asked in place of one that has just been started');
  let before = first;
  // One of the same template has the same id: the old one is not taken for it either.
  for (const id of ['version-2', 'version-2', 'version-3']) {
    const next = await startBroker({
      t,
      simulator: cluster.simulator,
      args: [`--token-issuer=${cluster.simulator.issuer}`, `--ready-id=${id}`],
      succeeds: before,
      waitUntilReady: false,
    });
    await next.logged(({ msg }) => msg === 'ready');
    t.equal(await ready(id), 200);
    t.equal(await before.stop(), 0);
    t.equal(await ready(id), 200);
    t.equal(await ready('version-1'), 404);
    before = next;
  }
});

const LOAD = fileURLToPath(new URL('../support/pod-load.ts', import.meta.url));

t.test('five upgrades under load lose no request', { skip: needsNamespaces() }, async (t) => {
  const cluster = await nodeFor(t);
  const { node, simulator } = cluster;
  await associate(cluster, 'web');
  const folder = await mkdtemp(join(tmpdir(), 'broker-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const set = node.exec('sysctl', ['-w', 'net.ipv4.tcp_migrate_req=1'], { stdio: 'ignore' });
  t.equal((await once(set, 'close'))[0], 0, 'as initialize sets it');
  const start = async () => {
    const broker = await startBroker({
      t,
      node,
      simulator: { ...simulator, url: 'http://127.0.0.1:8090' },
      args: [
        `--token-issuer=${simulator.issuer}`,
        `--admin-socket=${folder}/admin.sock`,
        '--max-pod-qps=0',
      ],
      waitUntilReady: false,
    });
    await broker.logged(({ msg }) => msg === 'ready');
    await broker.logged(({ msg }) => msg === 'token issuer keys loaded');
    return broker;
  };
  let broker = await start();
  const place = await node.createPod();
  const { token } = await simulator.kubelet.createPod({
    namespace: 'default',
    serviceAccount: 'web',
  });
  const load = place.exec(
    process.execPath,
    [
      LOAD,
      '--url=http://169.254.170.23/v1/credentials',
      '--url=http://[fd00:ec2::23]/v1/credentials',
      `--token=${token}`,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const lines: string[] = [];
  const output = createInterface({ input: load.stdout as NodeJS.ReadableStream });
  output.on('line', (line) => lines.push(line));
  await once(output, 'line');
  for (let upgrade = 0; upgrade < 5; upgrade += 1) {
    const next = await start();
    await next.logged(({ msg }) => /taking over/.test(msg));
    t.equal(await broker.stop(), 0);
    broker = next;
  }
  load.stdin?.end();
  await once(load, 'close');
  const { answered, failures } = JSON.parse(lines.at(-1) as string);
  t.comment(`${answered} requests answered`);
  t.strictSame(failures, {}, 'every request is answered');
  t.ok(answered > 500, `${answered} requests`);
  t.equal((await simulator.counts()).assumeRole.calls, 1, 'by one call to EKS Auth');
});
