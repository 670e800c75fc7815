import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fromHttp } from '@aws-sdk/credential-providers';
import t from 'tap';
import { ask, askAs, roleOf, SDK, startCluster } from './cluster.ts';

// EKS Auth takes longer than clients wait: the fetch goes on, and their next try finds it done.
// Each client is the only one of its session, so that nobody else's tries help it.

type Client = keyof typeof SDK;

const LASTING: readonly Client[] = ['olderJavaScript', 'javaScript', 'botocore'];
const DELAYS: readonly { delay: number; clients: readonly Client[] }[] = [
  { delay: 1_500, clients: [...LASTING, 'singleTry', 'ruby'] },
  { delay: 2_600, clients: LASTING },
  { delay: 5_000, clients: LASTING },
];

const cluster = await startCluster(t);
const { simulator } = cluster;
const broker = await cluster.broker();

t.jobs = 20;

for (const { delay, clients } of DELAYS) {
  for (const client of clients) {
    t.test(`${client} with EKS Auth at ${delay} ms`, { buffered: true }, async (t) => {
      const serviceAccount = `${client.toLowerCase()}-${delay}`;
      cluster.associate(serviceAccount);
      simulator.faults.add({ kind: 'slow', delay, serviceAccount });
      const { token } = cluster.pod(serviceAccount);
      const { status, body, tries } = await askAs(SDK[client], broker, token);
      t.equal(status, 200, `try ${tries} brings credentials`);
      const calls = cluster.calls(serviceAccount);
      t.equal(calls.length, 1, 'one call for all tries');
      t.equal(body.AccessKeyId, calls[0]?.issuedAccessKeyId);
    });
  }
}

t.test('the SDK of today with EKS Auth at 5 s', { buffered: true }, async (t) => {
  cluster.associate('sdk');
  simulator.faults.add({ kind: 'slow', delay: 5_000, serviceAccount: 'sdk' });
  const file = `${t.testdir({})}/token`;
  writeFileSync(file, cluster.pod('sdk').token);
  const credentials = await fromHttp({
    awsContainerCredentialsFullUri: broker.credentialsUri,
    awsContainerAuthorizationTokenFile: file,
    logger: { debug() {}, info() {}, warn() {}, error() {} },
  })();
  const calls = cluster.calls('sdk');
  t.equal(calls.length, 1);
  t.equal(credentials.accessKeyId, calls[0]?.issuedAccessKeyId);
});

t.test('clients of all kinds that share a session', { buffered: true }, async (t) => {
  cluster.associate('shared');
  simulator.faults.add({ kind: 'slow', delay: 2_600, serviceAccount: 'shared' });
  const replies = await Promise.all(
    Array.from({ length: 30 }, (_, index) => {
      const { token } = cluster.pod('shared');
      return askAs(SDK[LASTING[index % LASTING.length] as Client], broker, token);
    }),
  );
  const [call, ...others] = cluster.calls('shared');
  t.equal(others.length, 0, 'one call for all');
  t.match(call?.assumedRoleArn, new RegExp(roleOf('shared').split('/')[1] as string));
  for (const { status, body } of replies) {
    t.equal(status, 200);
    t.equal(body.AccessKeyId, call?.issuedAccessKeyId);
  }
});

t.test('a client that hangs up cancels nothing', { buffered: true }, async (t) => {
  cluster.associate('abandoned');
  simulator.faults.add({ kind: 'slow', delay: 1_200, serviceAccount: 'abandoned' });
  const { token } = cluster.pod('abandoned');
  t.equal((await ask(broker, token, { timeout: 200 })).error, 'TIMEOUT');
  await pause(1_500);
  const [call, ...others] = cluster.calls('abandoned');
  t.match(call, { status: 200 }, 'the call came to its end');
  const found = await ask(broker, token);
  t.match(found, { status: 200, body: { AccessKeyId: call?.issuedAccessKeyId } });
  t.equal(others.length, 0);
});

t.test('who is sent away is told so, and told when to come back', { buffered: true }, async (t) => {
  cluster.associate('told');
  simulator.faults.add({ kind: 'slow', delay: 4_000, serviceAccount: 'told' });
  const { status, body, headers, took } = await ask(broker, cluster.pod('told').token);
  t.match(
    { status, body, retryAfter: headers['retry-after'] },
    { status: 503, body: { code: 'CredentialsPending' }, retryAfter: '1' },
  );
  t.ok(took < 2_000, `before botocore hangs up (${Math.round(took)} ms)`);
});
