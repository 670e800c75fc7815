import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { BrokerProcess } from '../support/broker-process.ts';
import { keepAsking } from '../support/keep-asking.ts';
import { until } from '../support/until.ts';
import { ask, askAs, type Cluster, given, holds, SDK, startCluster, total } from './cluster.ts';

// What happens to the process itself: signals, worker threads that die, errors nobody expected.

t.jobs = 2;

/** A broker to which a test can do what no dependency should do. */
async function sabotaged(t: Test, cluster: Cluster) {
  const file = join(t.testdir({}), 'sabotage');
  const broker = await cluster.broker({
    env: {
      NODE_OPTIONS: `--import=${new URL('sabotage.ts', import.meta.url).href}`,
      SABOTAGE: file,
    },
  });
  return {
    broker,
    do(what: string) {
      writeFileSync(file, what);
      process.kill(broker.pid, 'SIGUSR2');
    },
  };
}

/** Whether anybody accepts connections. */
async function accepts(broker: BrokerProcess): Promise<boolean> {
  const socket = connect(broker.port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

t.test('worker threads die, and hits notice nothing', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { latency: 300 });
  cluster.associate('hit', 'throw', 'exit', 'hang', 'memory');
  const { broker, do: sabotage } = await sabotaged(t, cluster);
  const { token } = cluster.pod('hit');
  await given(t, broker, token);
  const replaced = () => total(broker, 'pod_identity_broker_worker_threads_replaced_total');

  for (const [index, what] of ['throw', 'exit', 'hang', 'memory'].entries()) {
    let over = false;
    const hits = (async () => {
      let longest = 0;
      while (!over) {
        const { status, took } = await ask(broker, token);
        if (status !== 200) t.fail(`a hit is answered ${status}`);
        longest = Math.max(longest, took);
        await pause(5);
      }
      return longest;
    })();
    // Both before and after: a call that is under way, and tokens that are to be verified.
    const pods = Array.from({ length: 6 }, () => cluster.pod(what));
    const early = pods.slice(0, 3).map((pod) => askAs(SDK.botocore, broker, pod.token));
    const { simulator } = cluster;
    await until(() => simulator.counts().inFlight > 0, 'a call is under way');
    sabotage(`worker ${what}`);
    const late = pods.slice(3).map((pod) => askAs(SDK.botocore, broker, pod.token));
    const replies = await Promise.all([...early, ...late]);
    for (const { status } of replies) t.equal(status, 200, `${what}: who is cold is served`);
    t.ok(await holds(async () => (await replaced()) === index + 1, 5_000), 'one is replaced');
    t.ok(await holds(async () => (await broker.probe('readyz')) === 200, 5_000), 'ready again');
    const fresh = await askAs(SDK.singleTry, broker, cluster.pod('hit').token);
    t.equal(fresh.status, 200, 'and tokens are verified');
    over = true;
    const longest = await hits;
    t.ok(longest < 1_000, `the slowest hit took ${Math.round(longest)} ms`);
  }
  t.equal(await broker.stop(), 0);
});

for (const [what, message] of [
  ['throw', 'thrown by a dependency'],
  ['reject', 'rejected by a dependency'],
] as const) {
  t.test(`an error that nobody expected: ${what}`, { buffered: true }, async (t) => {
    const cluster = await startCluster(t);
    cluster.associate('web');
    const { broker, do: sabotage } = await sabotaged(t, cluster);
    await given(t, broker, cluster.pod('web').token);
    const stopped = performance.now();
    sabotage(`main ${what}`);
    t.equal(await broker.exited, 70, 'it ends, so that it is started anew');
    t.ok(performance.now() - stopped < 5_000);
    const fatal = await broker.logged(({ level }) => level === 'fatal');
    t.match(fatal, { err: { message, stack: /sabotage\.ts/ } });
    t.notOk(await accepts(broker), 'and gives its port back');
  });
}

t.test('an error that nobody expected, in a request', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const { broker, do: sabotage } = await sabotaged(t, cluster);
  const { token } = cluster.pod('web');
  await given(t, broker, token);
  sabotage('main request');
  const failed = await holds(
    async () => (await ask(broker, cluster.pod('web').token)).status === 500,
    5_000,
  );
  t.ok(failed, 'its pod is told');
  const line = await broker.logged(({ msg }) => /in a way that it should not/.test(msg));
  t.match(line, { level: 'error', err: { stack: /sabotage\.ts/ } });
  const metrics = await broker.metrics();
  t.equal(metrics.get('pod_identity_broker_unexpected_errors_total'), 1, 'it is counted');
  t.equal((await ask(broker, token)).status, 200, 'and the others are served');
  t.equal((await ask(broker, cluster.pod('web').token)).status, 200, 'and so is a new pod');
  t.equal(await broker.probe('healthz'), 200);
  t.equal(await broker.stop(), 0);
});

t.test('SIGUSR1 opens no debugger', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const broker = await cluster.broker();
  process.kill(broker.pid, 'SIGUSR1');
  t.match(await broker.logged(({ msg }) => /no debugger/.test(msg)), { level: 'warn' });
  t.equal(await broker.probe('healthz'), 200);
  t.equal(broker.stderr(), '', 'Node says where a debugger listens');
  t.equal(await broker.stop(), 0);
});

t.test('SIGTERM under load', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const { simulator } = cluster;
  cluster.associate('hit', 'slow');
  const broker = await cluster.broker();
  const { token } = cluster.pod('hit');
  await given(t, broker, token);
  simulator.faults.add({ kind: 'slow', delay: 1_000, serviceAccount: 'slow' });
  const load = Array.from({ length: 20 }, () => keepAsking(broker, token));
  const brief = Array.from({ length: 4 }, () => askAnew(broker, token));
  const cold = Array.from({ length: 10 }, () => ask(broker, cluster.pod('slow').token));
  await until(() => simulator.counts().inFlight > 0, 'somebody waits for a fetch');
  const silent = await Promise.all(Array.from({ length: 10 }, () => sayLater(broker, token)));
  // Those of the load, of who waits for a fetch, and the silent ones.
  const open = () => total(broker, 'pod_identity_broker_connections');
  await until(async () => (await open()) >= 20 + 10 + 10, 'all connections are accepted');
  const answered = () => total(broker, 'pod_identity_broker_requests_total');
  await until(async () => (await answered()) > 400, 'it is under load');

  const signalled = performance.now();
  const exited = broker.stop('SIGTERM');
  await broker.logged(({ msg }) => msg === 'stopping');
  for (const { speak } of silent) speak();
  t.ok(await holds(async () => !(await accepts(broker)), 1_000), 'nothing new is accepted');

  for (const { answers, last, failure } of await Promise.all(load)) {
    t.ok(answers.length > 0, 'all of them had answers');
    t.equal(last, 'close', `the last answer on a connection says so (${answers.length} answers)`);
    t.equal(failure, undefined);
  }
  for (const { status, headers } of await Promise.all(cold)) {
    t.equal(status, 200, 'who waited for a fetch is answered');
    t.equal(headers.connection, 'close');
  }
  for (const { answer } of silent) {
    t.match(
      await answer,
      /^HTTP\/1\.1 200 OK\r\n.*\r\nConnection: close\r\n/is,
      'what was not read',
    );
  }
  for (const { answers, failures } of await Promise.all(brief)) {
    t.ok(answers > 0);
    t.strictSame(
      failures.filter(({ at }) => at < signalled - 100),
      [],
      'nobody failed before',
    );
    t.strictSame(
      failures.filter(({ code }) => code !== 'ECONNREFUSED' && code !== 'ECONNRESET'),
      [],
      'no answer is cut off',
    );
  }
  t.equal(await exited, 0);
  const took = performance.now() - signalled;
  t.ok(took < 4_000, `within the bound: ${Math.round(took)} ms`);
  t.ok(await broker.logged(({ msg }) => msg === 'stopped'));
});

t.test('SIGTERM while EKS Auth says nothing', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const broker = await cluster.broker();
  cluster.simulator.faults.add({ kind: 'black-hole' });
  const asked = ask(broker, cluster.pod('web').token);
  await until(() => cluster.simulator.counts().inFlight > 0, 'EKS Auth is asked');
  const signalled = performance.now();
  const exited = broker.stop('SIGTERM');
  const { status, headers } = await asked;
  t.equal(status, 503, 'even that is an answer');
  t.equal(headers.connection, 'close');
  t.equal(await exited, 0);
  t.ok(performance.now() - signalled < 5_000);
});

t.test('SIGKILL, and the next start', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const { token } = cluster.pod('web');
  const started = performance.now();
  const first = await cluster.broker();
  await given(t, first, token);
  const took = performance.now() - started;
  const open = connect(first.port, '127.0.0.1');
  open.on('error', () => undefined);
  await once(open, 'connect');
  t.equal(await first.stop('SIGKILL'), null);

  const restarted = performance.now();
  const second = await cluster.broker({
    args: [
      `--port=${first.port}`,
      `--probe-port=${first.probePort}`,
      `--metrics-port=${first.metricsPort}`,
      `--admin-socket=${first.adminSocket}`,
    ],
    waitUntilReady: false,
  });
  t.ok(
    await holds(async () => (await ask(first, token)).status === 200, 30_000),
    'serves on the same addresses',
  );
  const again = performance.now() - restarted;
  // How long a start takes is measured elsewhere; this one must not be longer than another.
  t.ok(again < took + 1_000, `after ${Math.round(again)} ms, the first after ${Math.round(took)}`);
  t.notOk(
    second.logs().find(({ msg }) => /is taken/.test(msg)),
    'it waits for nothing that the killed one left',
  );
  t.equal(await second.stop(), 0);
});

/** Asks again and again, each time on a connection of its own, until nobody is there. */
async function askAnew(broker: BrokerProcess, token: string) {
  const failures: { at: number; code: string | undefined }[] = [];
  let answers = 0;
  while (failures.at(-1)?.code !== 'ECONNREFUSED') {
    const at = performance.now();
    const { status, error } = await ask(broker, token);
    if (status === 200) answers += 1;
    else failures.push({ at, code: error ?? String(status) });
  }
  return { answers, failures };
}

/** A connection that is open and has not asked yet; `speak` asks. */
async function sayLater({ port }: BrokerProcess, token: string) {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.on('error', () => undefined);
  const closed = Promise.withResolvers<string>();
  socket.on('close', () => closed.resolve(text));
  return {
    answer: closed.promise,
    speak: () =>
      socket.write(
        `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${token}\r\n\r\n`,
      ),
  };
}
