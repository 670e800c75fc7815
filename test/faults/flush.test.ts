import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { freePort } from '../../src/simulator/free-port.ts';
import type { Simulator } from '../../src/simulator/simulator.ts';
import { type LogLine, runProgram, startBroker } from '../support/broker-process.ts';
import { until } from '../support/until.ts';
import { ask, NAMESPACE, roleOf, startCluster, total } from './cluster.ts';

// The operator's word: a flush beats whatever was fetched, or began to be fetched, before it.

t.jobs = 2;

const flush = (socket: string, ...args: string[]) =>
  runProgram(['flush', `--admin-socket=${socket}`, ...args]);

/** Gives a service account another role. */
function change({ associations }: Simulator, serviceAccount: string, role: string): void {
  const [found] = associations.list({ namespace: NAMESPACE, serviceAccount });
  associations.update(found?.associationId as string, { roleArn: roleOf(role) });
}

t.test('a flush of all, of a namespace, of a service account', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const { simulator } = cluster;
  const broker = await cluster.broker();
  const socket = broker.adminSocket as string;
  const roles = new Map<string, string>();
  const tokens = ['shop/web', 'shop/api', 'bank/web'].map((name) => {
    const [namespace = '', serviceAccount = ''] = name.split('/');
    simulator.associations.create({ namespace, serviceAccount, roleArn: roleOf('role') });
    return simulator.kubelet.createPod({ namespace, serviceAccount }).token;
  });
  /** Which of the three are fetched anew when asked for. */
  const fetchedAnew = async () => {
    const anew: number[] = [];
    for (const [index, token] of tokens.entries()) {
      const { status, body } = await ask(broker, token);
      t.equal(status, 200);
      if (roles.get(token) !== body.AccessKeyId) anew.push(index);
      roles.set(token, body.AccessKeyId);
    }
    return anew;
  };
  t.strictSame(await fetchedAnew(), [0, 1, 2]);
  t.strictSame(await fetchedAnew(), []);

  for (const [args, said, anew] of [
    [['--namespace', 'shop', '--service-account', 'web'], '1 session flushed\n', [0]],
    [['--namespace', 'shop'], '2 sessions flushed\n', [0, 1]],
    [['--namespace', 'nowhere'], '0 sessions flushed\n', []],
    [[], '3 sessions flushed\n', [0, 1, 2]],
  ] as const) {
    t.strictSame(await flush(socket, ...args), { code: 0, stdout: said, stderr: '' });
    t.strictSame(await fetchedAnew(), anew, `after flush ${args.join(' ')}`);
  }
  t.match(await flush(socket, '--service-account', 'web'), {
    code: 2,
    stderr: /^error: .*--namespace/,
  });
  await broker.stop();
  t.notOk(existsSync(socket), 'the socket goes with the broker');
  t.match(await flush(socket), { code: 1, stdout: '', stderr: /^error: no broker can be asked/ });
});

t.test('a flush beats the fetch that began before it', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const { simulator } = cluster;
  const broker = await cluster.broker({ args: ['--client-wait=10s'] });
  const socket = broker.adminSocket as string;
  cluster.associate('web');
  simulator.faults.add({ kind: 'slow', delay: 3_000, calls: 1 });
  const early = [1, 2, 3].map(() => ask(broker, cluster.pod('web').token));
  await until(() => simulator.counts().inFlight > 0, 'the fetch is under way');
  t.equal(simulator.counts().inFlight, 1, 'one for all');
  change(simulator, 'web', 'other');
  t.match(await flush(socket), { code: 0, stdout: '1 session flushed\n' });

  const late = await ask(broker, cluster.pod('web').token);
  t.equal(late.status, 200);
  t.ok(late.took < 2_000, 'who asks after it does not wait for what began before');
  const replies = await Promise.all(early);
  const [old, fetched, ...others] = cluster.calls();
  t.match(old?.assumedRoleArn, /\/web\//);
  t.match(fetched?.assumedRoleArn, /\/other\//);
  t.equal(others.length, 0);
  for (const { status, body } of [late, ...replies]) {
    t.equal(status, 200);
    t.equal(body.AccessKeyId, fetched?.issuedAccessKeyId, 'nobody is handed the old role');
  }
});

t.test('a flush beats the renewal that began before it', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const { simulator } = cluster;
  const broker = await cluster.broker({
    args: ['--max-credential-retention-before-renewal=1s'],
  });
  const socket = broker.adminSocket as string;
  cluster.associate('web');
  const { token } = cluster.pod('web');
  const first = await ask(broker, token);
  simulator.faults.add({ kind: 'slow', delay: 2_000, calls: 1 });
  await until(async () => {
    t.match(await ask(broker, token), { status: 200, body: first.body });
    return simulator.counts().inFlight > 0;
  }, 'it is being renewed');
  change(simulator, 'web', 'other');
  t.match(await flush(socket), { code: 0 });
  await ask(broker, token);
  const renewed = () => total(broker, 'pod_identity_broker_renewals_total');
  await until(async () => (await renewed()) === 1, 'the renewal has ended');
  const { body } = await ask(broker, token);
  const issued = cluster
    .calls()
    .find(({ issuedAccessKeyId }) => issuedAccessKeyId === body.AccessKeyId);
  t.match(issued?.assumedRoleArn, /\/other\//, 'the renewal of the old role is not kept');
});

t.test('a folder for this user alone', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  // Folders that are not there yet are made.
  const socket = join(socketFolder(t), 'run/broker/admin.sock');
  const broker = await cluster.broker({ args: [`--admin-socket=${socket}`] });
  t.equal(statSync(dirname(socket)).mode & 0o777, 0o700);
  t.equal(statSync(socket).mode & 0o777, 0o600);

  const taken = await cluster.broker({
    args: [`--admin-socket=${socket}`],
    waitUntilReady: false,
  });
  t.equal(await taken.exited, 1, 'a live broker keeps its socket');
  t.match(
    taken.logs().find(({ level }) => level === 'fatal'),
    { reason: /another broker listens there/ },
  );
  t.match(await flush(socket), { code: 0 });

  t.equal(await broker.stop('SIGKILL'), null);
  t.ok(existsSync(socket), 'one that is killed leaves it');
  await cluster.broker({ args: [`--admin-socket=${socket}`] });
  t.match(await flush(socket), { code: 0, stdout: '0 sessions flushed\n' }, 'and it is replaced');
});

t.test('no socket where others could reach it', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  for (const mode of [0o755, 0o701]) {
    const folder = socketFolder(t);
    chmodSync(folder, mode);
    const broker = await cluster.broker({
      args: [`--admin-socket=${folder}/admin.sock`],
      waitUntilReady: false,
    });
    t.equal(await broker.exited, 1, 'asked for by its flag, it has to be there');
    const fatal = await broker.logged(({ level }) => level === 'fatal');
    t.match(fatal, { msg: 'startup failed', reason: /open to others/ });
    t.notOk(existsSync(`${folder}/admin.sock`));
  }
});

t.test('the default socket is done without where it cannot be', { buffered: true }, async (t) => {
  // Two cannot both have it: whoever comes second, or has no right to, goes on without.
  const { simulator } = await startCluster(t);
  const warned: LogLine[] = [];
  for (let count = 0; count < 2; count += 1) {
    const ports = new Map<number, number>();
    for (const port of [80, 2703, 2705]) ports.set(port, await freePort());
    const broker = await startBroker({
      t,
      simulator,
      // A node of its own gets no flags but these.
      node: { exec: spawn as never, forward: async (port) => ports.get(port) as number },
      args: [
        '--bind-hosts=127.0.0.1',
        `--port=${ports.get(80)}`,
        `--probe-port=${ports.get(2703)}`,
        '--metrics-address=127.0.0.1',
        `--metrics-port=${ports.get(2705)}`,
      ],
    });
    await broker.logged(({ msg }) => msg === 'ready');
    warned.push(...broker.logs().filter(({ msg }) => msg === 'going on without an admin socket'));
  }
  t.match(warned.at(-1), { level: 'warn', reason: /\/run\/pod-identity-broker\/admin\.sock/ });
});

/** A folder for this user alone, and with a short path: a socket's has 107 letters at most. */
function socketFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'faults-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

t.test('what is no flush', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const broker = await cluster.broker();
  const socket = broker.adminSocket as string;
  cluster.associate('web');
  const { token } = cluster.pod('web');
  const before = await ask(broker, token);
  for (const [method, path, body, status] of [
    ['GET', '/flush', '', 404],
    ['POST', '/', '{}', 404],
    ['POST', '/flush', '', 400],
    ['POST', '/flush', 'null', 400],
    ['POST', '/flush', '["shop"]', 400],
    ['POST', '/flush', '{"namespace":""}', 400],
    ['POST', '/flush', '{"namespace":1}', 400],
    ['POST', '/flush', '{"nmaespace":"shop"}', 400],
    ['POST', '/flush', '{"serviceAccount":"web"}', 400],
    ['POST', '/flush', `{"namespace":"${'x'.repeat(21_000)}"}`, 413],
  ] as const) {
    t.equal(
      await post(socket, method, path, body),
      status,
      `${method} ${path} ${body.slice(0, 40)}`,
    );
  }
  t.match(await ask(broker, token), { status: 200, body: before.body }, 'nothing was flushed');
});

function post(socketPath: string, method: string, path: string, body: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const headers = { 'Content-Length': Buffer.byteLength(body) };
  const asked = request({ socketPath, method, path, headers, agent: false }, (response) => {
    response.resume();
    resolve(response.statusCode ?? 0);
  });
  asked.on('error', reject);
  asked.end(body);
  return promise;
}
