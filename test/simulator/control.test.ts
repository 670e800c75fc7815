import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { connectSimulator } from '../../src/simulator/control-client.ts';
import type { Simulator } from '../../src/simulator/simulator.ts';
import { assume, roleArn, simulatorFor } from './caller.ts';

const COMMAND = new URL('../../src/commands/simulate.ts', import.meta.url).href;

/** Starts `simulate` as a process; resolves with what it printed once it serves. */
async function simulate(...words: string[]): Promise<{ child: ChildProcess; printed: string }> {
  const script = `
    const { simulateCommand } = await import(${JSON.stringify(COMMAND)});
    await simulateCommand().parseAsync(process.argv.slice(1), { from: 'user' });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, '--', ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
  }
  const over = once(child, 'close');
  while (!printed.includes('Stop with') && child.exitCode === null) {
    await Promise.race([once(child.stdout, 'data'), over]);
  }
  return { child, printed };
}

t.test('a simulator in another process does all that one in this process does', async (t) => {
  const directory = t.testdir();
  const { child, printed } = await simulate(
    ...['--port', '0', '--cluster-name', 'away', '--region', 'eu-west-1', '--quota', '100'],
    ...['--latency', '5ms', '--session-lifetime', '15m', '--token-directory', directory],
  );
  t.teardown(() => child.kill('SIGKILL'));
  const url = /at (http:\S+)/.exec(printed)?.[1] ?? '';
  const remote = await connectSimulator(url);
  t.match(printed, `export AWS_ACCESS_KEY_ID=${remote.nodeCredentials.accessKeyId}`);
  t.match(printed, `aws eks-auth assume-role-for-pod-identity --endpoint-url ${url}`);
  t.match(remote, { url, clusterName: 'away', region: 'eu-west-1' });
  t.match(await remote.eksAuth.settings(), {
    latency: 5,
    sessionLifetime: 900_000,
    quota: { rate: 100, burst: 100 },
  });

  const subject = { namespace: 'default', serviceAccount: 'web' };
  const association = await remote.associations.create({ ...subject, roleArn: roleArn('web') });
  await t.rejects(remote.associations.create({ ...subject, roleArn: roleArn('web') }), {
    name: 'ControlError',
    status: 409,
    code: 'ResourceInUseException',
  });
  const pod = await remote.kubelet.createPod({ ...subject, name: 'web-0' });
  t.equal(readFileSync(pod.tokenFile ?? '', 'utf8'), pod.token);
  t.match(await pod.environment('http://127.0.0.1:80/v1/credentials'), {
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: pod.tokenFile,
    AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1:80/v1/credentials',
    AWS_REGION: 'eu-west-1',
  });
  // The raw caller needs of a simulator no more than what the client knows.
  const target = remote as unknown as Simulator;
  const status = async (token: string) => (await assume(target, token)).status;
  t.equal(await status(pod.token), 200);
  const before = pod.token;
  t.not(await pod.rotate(), before);
  t.equal((await remote.kubelet.pod('default', 'web-0')).token, pod.token);
  t.equal(await status(await remote.kubelet.mint({ namespace: 'default', pod: 'web-0' })), 200);
  const foreign = await remote.kubelet.mint({ pod: 'web-0', foreignKey: true });
  t.equal(await status(foreign), 400);
  const headless = await remote.kubelet.mint({ header: { kid: null }, signature: 'AA' });
  t.equal(await status(headless), 400);
  t.type(await remote.kubelet.recreateServiceAccount('default', 'web'), 'string');
  await remote.kubelet.rotateAll();
  t.equal((await remote.kubelet.pods()).length, 1);

  const { current } = await remote.issuerKeys.jwks();
  const kid = await remote.issuerKeys.rotate({ publish: false });
  await remote.issuerKeys.publish();
  await remote.issuerKeys.withdraw(current);
  t.same(
    (await remote.issuerKeys.jwks()).keys.map((key) => key.kid),
    [kid],
  );
  t.equal(await status(await pod.rotate()), 200);

  const id = await remote.faults.add({ kind: 'unavailable', pod: 'web-0' });
  t.equal(await status(pod.token), 503);
  t.match(await remote.faults.list(), [{ id, met: 1 }]);
  await remote.faults.clear(id);
  await remote.roles.put(roleArn('web'), { Statement: [] });
  t.equal(await status(pod.token), 400);
  await remote.associations.update(association.associationId, { roleArn: roleArn('good') });
  t.equal(await status(pod.token), 200);
  await remote.eksAuth.set({ quota: { rate: 0, burst: 1 }, latency: 0 });
  t.equal(await status(pod.token), 200);
  t.equal(await status(pod.token), 429);
  await remote.eksAuth.set({ quota: null });

  t.match(await remote.node.rotate({ lifetime: 60_000 }), { sessionToken: String });
  const credentials = await remote.node.credentials();
  await remote.node.expire();
  t.equal((await assume(target, pod.token, { credentials })).status, 403);
  await remote.node.revoke(credentials.accessKeyId);

  t.match(await remote.audit.events({ errorCode: 'ThrottlingException', limit: 5 }), [
    { serviceAccount: 'web', status: 429 },
  ]);
  t.match(await remote.counts(), { serviceAccounts: { 'default/web': { calls: Number } } });
  await remote.resetCounts();
  t.equal((await remote.counts()).calls, 0);
  await remote.audit.clear();
  t.same(await remote.audit.events(), []);
  await remote.associations.delete(association.associationId);
  t.same(await remote.associations.list(subject), []);
  await pod.delete();
  t.notOk(existsSync(pod.tokenFile ?? ''));

  child.kill('SIGTERM');
  const [code] = await once(child, 'close');
  t.equal(code, 0);
});

t.test('what is wrong with a control request is named', async (t) => {
  const { url } = await simulatorFor(t);
  const send = async (method: string, path: string, body: string) => {
    const response = await fetch(`${url}/_simulator/${path}`, { method, body });
    return { status: response.status, ...((await response.json()) as { message: string }) };
  };
  for (const [method, path, body, message] of [
    ['POST', 'pods', '{', /JSON/],
    ['POST', 'pods', '[]', /must be an object/],
    ['POST', 'pods', '{"namespace":"a"}', /^serviceAccount must be a string/],
    [
      'POST',
      'pods',
      '{"namespace":"a","serviceAccount":"b","nod":"c"}',
      /^nod is not known; known/,
    ],
    ['POST', 'faults', '{"kind":"earthquake"}', /^kind must be one of reset, black-hole/],
    ['POST', 'faults', '{"kind":"reset","calls":"2"}', /^calls must be a number/],
    ['PATCH', 'settings', '{"latency":{"median":1}}', /^latency\.sigma must be a number/],
    ['PATCH', 'settings', '{"quota":{"rate":-1,"burst":1}}', /^quota\.rate must be at least 0/],
    ['PUT', 'roles', '{"roleArn":"x"}', /^roleArn is not a role's ARN/],
    ['POST', 'keys/rotate', '{"algorithm":"HS256"}', /^algorithm must be one of RS256, ES256/],
    ['DELETE', 'keys/x', '', /^kid is not published/],
    ['POST', 'pods/default/none/rotate', '', /^pod does not exist: default\/none/],
    ['POST', 'outage', '{"duration":0}', /^duration must be at least 1/],
    ['POST', 'associations', '{"namespace":"a","serviceAccount":"b"}', /^roleArn/],
  ] as const) {
    t.match(await send(method, path, body), { status: 400, message }, `${method} ${path} ${body}`);
  }
  const audit = await fetch(`${url}/_simulator/audit?limt=1`);
  t.match([audit.status, await audit.text()], [400, /limt is not known/]);
  t.equal((await fetch(`${url}/_simulator/nothing`)).status, 404);
  t.equal((await fetch(`${url}/_simulator/%zz`)).status, 404);
  t.equal((await send('POST', 'pods', 'x'.repeat(300_000))).status, 413);
});

t.test('an outage from outside', async (t) => {
  const simulator = await simulatorFor(t);
  const remote = await connectSimulator(simulator.url);
  await remote.outage(100);
  await new Promise((resolve) => setImmediate(resolve));
  await simulator.recovered();
  t.match(await remote.counts(), { calls: 0 });
});

t.test('a wrong command line names its flag', async (t) => {
  for (const [words, message] of [
    [['--latency', '5'], /--latency <duration>' argument '5' is invalid/],
    [['--port', '70000'], /--port <port>' argument '70000' is invalid/],
    [['--burst', '3'], /--burst needs a --quota/],
    [['--session-lifetime', '1ms', '--port', '0'], /--session-lifetime must be at least 1000/],
  ] as const) {
    const { child, printed } = await simulate(...words);
    t.match(printed, message);
    t.not(child.exitCode, 0);
  }
});
