import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { startBroker } from '../support/broker-process.ts';
import { ask, startCluster } from './cluster.ts';

// Files on volumes that hang, such as a dead NFS server's: a read of one never ends, and keeps a
// thread of the process. Here they are pipes that nobody writes to.

t.jobs = 2;

function hanging(t: Test, ...names: string[]): string[] {
  const folder = t.testdir({});
  const files = names.map((name) => join(folder, name));
  execFileSync('mkfifo', files);
  return files;
}

t.test("keys and the node's credentials hang: the rest goes on", { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const [keys, credentials] = hanging(t, 'jwks.json', 'credentials');
  const broker = await cluster.broker({
    t,
    args: ['--rotate-credentials', `--jwks-file=${keys}`],
    env: {
      AWS_ACCESS_KEY_ID: undefined,
      AWS_SECRET_ACCESS_KEY: undefined,
      AWS_SHARED_CREDENTIALS_FILE: credentials,
      AWS_CONFIG_FILE: '/nonexistent',
    },
  });
  const { token } = cluster.pod('web');
  // As often as clients try: each try has the credentials loaded anew.
  for (let time = 0; time < 5; time += 1) {
    t.match(await ask(broker, token), { status: 503 });
    await pause(500);
  }
  t.match(await broker.logged(({ reason }) => /not within/.test(reason)), {
    reason: `no AWS credentials on this node: ${credentials} cannot be read: not within 2000 ms`,
  });
  t.equal(await broker.probe('healthz'), 200);
  t.equal(await broker.probe('readyz'), 200);
  t.equal(await broker.stop(), 0, 'it ends though its threads do not');
});

for (const [flag, args, env] of [
  ['--kubeconfig', ['--kubeconfig=FILE'], {}],
  ['--redis-key-file', ['--redis-url=redis://127.0.0.1:1', '--redis-key-file=FILE'], {}],
  ['AWS_CA_BUNDLE', [], { AWS_CA_BUNDLE: 'FILE' }],
] as const) {
  t.test(`${flag} hangs: a line in the log, exit 1`, { buffered: true }, async (t) => {
    const [file = ''] = hanging(t, 'file');
    const inPlace = (text: string) => text.replace('FILE', file);
    const broker = await startBroker({
      t,
      waitUntilReady: false,
      args: ['--cluster-name=c', ...args.map(inPlace)],
      env: Object.fromEntries(Object.entries(env).map(([name, text]) => [name, inPlace(text)])),
    });
    t.match(await broker.logged(({ level }) => level === 'fatal'), {
      msg: 'startup failed',
      reason: new RegExp(`${flag}|${file}`),
    });
    t.equal(await broker.exited, 1);
  });
}
