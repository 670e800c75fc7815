import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Credentials } from '../../src/simulator/credential-authority.ts';
import { SessionsHarness } from '../support/sessions-harness.ts';
import { ask, askAs, type Cluster, holds, SDK, startCluster } from './cluster.ts';

// The node's own AWS credentials do not serve. That is no pod's doing: none is refused for it,
// none loses what it has, and the broker finds the way back by itself.

t.jobs = 3;

/** The shared credentials file as a tool on the node would write it. */
function profile({ accessKeyId, secretAccessKey, sessionToken }: Credentials): string {
  return [
    '[default]',
    `aws_access_key_id = ${accessKeyId}`,
    `aws_secret_access_key = ${secretAccessKey}`,
    ...(sessionToken === undefined ? [] : [`aws_session_token = ${sessionToken}`]),
    '',
  ].join('\n');
}

/** A broker whose node has a shared credentials file and nothing else. */
async function brokerWithFile(t: Test, cluster: Cluster, ...args: string[]) {
  const file = join(t.testdir({}), 'credentials');
  const start = () =>
    cluster.broker({
      t,
      args: ['--rotate-credentials', ...args],
      env: {
        AWS_ACCESS_KEY_ID: undefined,
        AWS_SECRET_ACCESS_KEY: undefined,
        AWS_SHARED_CREDENTIALS_FILE: file,
        AWS_CONFIG_FILE: '/nonexistent',
      },
    });
  return {
    start,
    write: (credentials: Credentials) => writeFileSync(file, profile(credentials)),
    writeText: (text: string) => writeFileSync(file, text),
    remove: () => rmSync(file),
  };
}

const trouble = ({ msg }: { msg: string }) => /AWS credentials do not serve/.test(msg);

t.test('none at all, until a file appears', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const node = await brokerWithFile(t, cluster);
  const broker = await node.start();
  t.equal(await broker.probe('readyz'), 200, 'the node is none the worse for it');
  const { token } = cluster.pod('web');
  const told = await ask(broker, token);
  t.equal(told.status, 503, 'which the pod tries again');
  t.match(
    told.body.message,
    /no AWS credentials on this node: none in the environment or in profile/,
  );
  t.match(told.headers['retry-after'], /^\d+$/);
  t.equal(cluster.calls().length, 0);
  t.match(await broker.logged(trouble), {
    level: 'error',
    reason: /no AWS credentials on this node/,
  });
  node.write(cluster.simulator.nodeCredentials);
  t.equal((await askAs(SDK.botocore, broker, token)).status, 200, 'served when there are some');
});

for (const [how, code] of [
  ['expire', 'ExpiredTokenException'],
  ['revoke', 'UnrecognizedClientException'],
] as const) {
  t.test(
    `credentials that EKS Auth does not know any more: ${how}d`,
    { buffered: true },
    async (t) => {
      const cluster = await startCluster(t);
      const { node } = cluster.simulator;
      cluster.associate('known', 'later', 'new');
      const file = await brokerWithFile(t, cluster, '--max-credential-retention-before-renewal=1s');
      file.write(node.rotate());
      const broker = await file.start();
      const known = cluster.pod('known');
      const before = await ask(broker, known.token);
      t.equal(before.status, 200);
      t.equal((await ask(broker, known.token)).status, 200);
      node[how]();
      t.ok(await holds(() => cluster.calls('known').length > 1, 4_000), 'a renewal is tried');

      const later = cluster.pod('later');
      const told = await ask(broker, later.token);
      t.match(told, { status: 503, body: { code } }, "not the pod's fault, and said so");
      t.match(await broker.logged(trouble), { level: 'error', code });
      // The renewal that was due by now is refused as well.
      t.ok(await holds(() => cluster.calls('known').length > 1, 4_000), 'a renewal was tried');
      for (const token of [known.token, known.rotate(), cluster.pod('known').token]) {
        t.match(await ask(broker, token), { status: 200, body: before.body }, 'nothing is dropped');
      }
      const calls = cluster.calls().length;
      await pause(1_000);
      t.ok(cluster.calls().length - calls <= 5, 'EKS Auth is not hammered meanwhile');

      file.write(node.rotate());
      t.equal(
        (await askAs(SDK.botocore, broker, later.token)).status,
        200,
        'the new ones are found',
      );
      t.equal((await ask(broker, cluster.pod('new').token)).status, 200);
      t.equal(broker.logs().filter(trouble).length, 1, 'said once, not at each call');
    },
  );
}

t.test('a file that is replaced while its old credentials end', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  const { node } = cluster.simulator;
  cluster.associate('web', 'batch', 'mail');
  const file = await brokerWithFile(t, cluster);
  file.write(node.rotate());
  const broker = await file.start();
  t.equal((await ask(broker, cluster.pod('web').token)).status, 200);
  // Files are read once a second at most. When the second call is refused, that is not over yet.
  for (const account of ['first', 'second', 'third']) {
    cluster.associate(account);
    const old = node.credentials.accessKeyId;
    file.write(node.rotate());
    node.revoke(old);
    const { status, took } = await ask(broker, cluster.pod(account).token);
    t.equal(status, 200, `who asks is served at the first try, ${Math.round(took)} ms`);
    const statuses = cluster.calls(account).map((call) => call.status);
    t.equal(statuses.at(-1), 200);
    t.ok(statuses.length <= 6, `${statuses}`);
  }

  // Writers that do not replace files in one step leave this to be read for a moment.
  for (const [account, left] of [
    ['batch', ''],
    ['mail', '[default]\naws_access_key_id = AKIA'],
  ] as const) {
    file.writeText(left);
    cluster.simulator.faults.add({ kind: 'node-credentials-expired', calls: 1 });
    t.equal(
      (await ask(broker, cluster.pod(account).token)).status,
      200,
      'what was read before goes on, since it has not ended',
    );
    await pause(1_000);
  }
  file.remove();
  cluster.associate('late');
  t.equal((await ask(broker, cluster.pod('late').token)).status, 200);
});

for (const [asked, code, message] of [
  [
    'the region, too',
    'NoRegion',
    /^no AWS region: set AWS_REGION \(instance metadata: .* did not answer within 1000 ms\)$/,
  ],
  [
    'credentials alone',
    'NodeCredentialsPending',
    /^no AWS credentials on this node yet: waiting for instance metadata$/,
  ],
] as const) {
  t.test(`instance metadata that is slow: ${asked}`, { buffered: true }, async (t) => {
    const cluster = await startCluster(t);
    cluster.associate('web');
    const metadata = await startMetadata(t, cluster);
    metadata.delay = 1_500;
    const broker = await cluster.broker({
      env: {
        AWS_ACCESS_KEY_ID: undefined,
        AWS_SECRET_ACCESS_KEY: undefined,
        AWS_REGION: code === 'NoRegion' ? undefined : cluster.simulator.region,
        AWS_EC2_METADATA_DISABLED: undefined,
        AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url,
        AWS_SHARED_CREDENTIALS_FILE: '/nonexistent',
        AWS_CONFIG_FILE: '/nonexistent',
      },
    });
    const { token } = cluster.pod('web');
    const told = await ask(broker, token);
    t.equal(told.status, 503);
    t.equal(told.body.code, code);
    t.match(told.body.message, message, told.body.message);
    t.equal(cluster.calls().length, 0);
    metadata.delay = 300;
    const served = await askAs(SDK.botocore, broker, token);
    t.equal(served.status, 200, `served at try ${served.tries}`);
    t.equal(cluster.calls('web').length, 1);
    metadata.delay = 60_000;
    cluster.associate('late');
    t.equal((await ask(broker, cluster.pod('late').token)).status, 200, 'what is known goes on');
  });
}

t.test("the node's role has lost its permission", { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web', 'api', 'new');
  const broker = await cluster.broker({
    args: ['--max-credential-retention-before-renewal=1s'],
  });
  const pods = ['web', 'api'].map((account) => cluster.pod(account));
  const before = await Promise.all(pods.map(({ token }) => ask(broker, token)));
  await Promise.all(pods.map(({ token }) => ask(broker, token)));
  const id = cluster.simulator.faults.add({ kind: 'access-denied' });
  t.ok(await holds(() => cluster.calls('web').length > 1, 4_000), 'a renewal was tried');
  t.ok(await holds(() => cluster.calls('api').length > 1, 4_000));
  const told = await ask(broker, cluster.pod('new').token);
  t.match(
    told,
    { status: 503, body: { message: /not authorized to perform: eks-auth:/ } },
    'told apart from a role that a pod may not have',
  );
  t.match(await broker.logged(trouble), { level: 'error', code: 'AccessDeniedException' });
  for (const [index, { token }] of pods.entries()) {
    t.match(await ask(broker, token), { status: 200, body: before[index]?.body }, 'kept');
  }
  t.notOk(broker.logs().find(({ msg }) => /^session ended/.test(msg)));
  cluster.simulator.faults.clear(id);
  t.equal((await askAs(SDK.botocore, broker, cluster.pod('new').token)).status, 200);
});

t.test('AccessDenied in words that name nobody', async (t) => {
  const DENIED = { kind: 'refused', code: 'AccessDeniedException', status: 400 } as const;
  /** Sessions that were fetched and are wanted, and whose renewals are about to be due. */
  async function held(...accounts: string[]) {
    const h = new SessionsHarness();
    h.auto = (call) => call.grant();
    const pods = accounts.map((account) => h.pod(account, `${account}-1`));
    for (const pod of pods) await h.fetch(pod);
    for (const pod of pods) h.open(pod);
    return { h, pods };
  }

  await t.test("to every session: the node's trouble, and none is dropped", async (t) => {
    const { h } = await held('web', 'api', 'batch');
    h.auto = (call) => call.fail(DENIED);
    await h.clock.advance(5 * 3_600_000);
    t.ok(h.calls.length > 30, 'tried again and again');
    t.equal(h.sessions.size, 3);
    h.auto = (call) => call.grant();
    await h.clock.advance(120_000);
    t.equal(h.sessions.size, 3);
    t.same(h.renewals.slice(-3), [true, true, true]);
  });

  await t.test('to one session among others that are granted: its own', async (t) => {
    const { h, pods } = await held('web', 'api', 'batch');
    h.auto = (call) => (call.token === pods[0]?.token ? call.fail(DENIED) : call.grant());
    await h.clock.advance(3 * 3_600_000 + 120_000);
    t.equal(h.sessions.size, 2, 'ended within minutes');
  });

  await t.test('to the only session: its own', async (t) => {
    const { h } = await held('web');
    h.auto = (call) => call.fail(DENIED);
    await h.clock.advance(3 * 3_600_000 + 60_000);
    t.equal(h.sessions.size, 0);
  });
});

/** An instance metadata service (IMDSv2) that has the node's credentials, and takes its time. */
async function startMetadata(t: Test, { simulator }: Cluster) {
  const state = { delay: 0, url: '' };
  const roles = '/latest/meta-data/iam/security-credentials/';
  const answers: Record<string, () => string> = {
    '/latest/api/token': () => 'session',
    '/latest/meta-data/placement/region': () => simulator.region,
    [roles]: () => 'node',
    [`${roles}node`]: () => {
      const { accessKeyId, secretAccessKey, sessionToken } = simulator.node.rotate();
      return JSON.stringify({
        Code: 'Success',
        AccessKeyId: accessKeyId,
        SecretAccessKey: secretAccessKey,
        Token: sessionToken,
        Expiration: new Date(Date.now() + 6 * 3_600_000).toISOString(),
      });
    },
  };
  const respond = async (path: string, response: ServerResponse) => {
    await pause(state.delay, undefined, { ref: false });
    const text = answers[path]?.();
    response.writeHead(text === undefined ? 404 : 200).end(text);
  };
  const server = createServer((request, response) => void respond(request.url ?? '', response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return state;
}
