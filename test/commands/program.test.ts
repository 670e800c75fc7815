import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { freePort } from '../../src/simulator/free-port.ts';
import { runProgram, startBroker } from '../support/broker-process.ts';

/** Command lines that are refused before anything is started. */
const REFUSED: readonly {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** What the one line has to name. */
  readonly names: readonly string[];
}[] = [
  { name: 'unknown flag', args: ['server', '-c', 'x', '--portt', '80'], names: ['--portt'] },
  { name: 'no cluster name', args: ['server'], names: ['--cluster-name'] },
  { name: 'bad port', args: ['server', '-c=x', '-p=99999'], names: ['--port', "'99999'"] },
  {
    name: 'bad port in a variable',
    args: ['server', '-c', 'x'],
    env: { POD_IDENTITY_BROKER_PORT: 'http' },
    names: ['--port', 'POD_IDENTITY_BROKER_PORT'],
  },
  {
    name: 'bad duration',
    args: ['server', '-c', 'x', '--client-wait=2'],
    names: ['--client-wait'],
  },
  {
    name: 'bad duration in a variable',
    args: ['server', '-c', 'x'],
    env: { POD_IDENTITY_BROKER_CLIENT_WAIT: '2 s' },
    names: ['--client-wait', 'POD_IDENTITY_BROKER_CLIENT_WAIT'],
  },
  {
    name: 'bad URL',
    args: ['server', '-c', 'x', '--endpoint', 'eks-auth'],
    names: ['--endpoint'],
  },
  {
    name: 'bad URL in a variable',
    args: ['server', '-c', 'x'],
    env: { POD_IDENTITY_BROKER_JWKS_URI: 'http://10.0.0.1/keys' },
    names: ['--jwks-uri', 'POD_IDENTITY_BROKER_JWKS_URI'],
  },
  {
    name: 'bad cluster name in a variable',
    args: ['server'],
    env: { POD_IDENTITY_BROKER_CLUSTER_NAME: 'a/b' },
    names: ['--cluster-name', 'POD_IDENTITY_BROKER_CLUSTER_NAME'],
  },
  {
    name: 'a value of several lines',
    args: ['server', '-c', 'x', '--port', '80\n\nsecond line'],
    names: ['--port'],
  },
  {
    name: 'two sockets on one address',
    args: ['server', '-c', 'x', '--metrics-port=2703'],
    names: ['--metrics-port', '--probe-port'],
  },
  {
    name: 'a proxy of a scheme that is not spoken',
    args: ['server', '-c', 'x'],
    env: { HTTPS_PROXY: 'socks5://user:secret@proxy:1080' },
    names: ['HTTPS_PROXY'],
  },
  {
    name: 'a proxy that is no URL, in lower case',
    args: ['server', '-c', 'x'],
    env: { http_proxy: 'http://' },
    names: ['http_proxy'],
  },
  {
    name: 'what cannot be the name of a region',
    args: ['server', '-c', 'x'],
    env: { AWS_REGION: 'eu-central-1.attacker.example/' },
    names: ['AWS_REGION', '"eu-central-1.attacker.example/"'],
  },
  {
    name: 'FIPS at an endpoint of its own',
    args: ['server', '-c', 'x', '--endpoint', 'https://eks-auth.example'],
    env: { AWS_USE_FIPS_ENDPOINT: 'true' },
    names: ['--endpoint', 'AWS_USE_FIPS_ENDPOINT'],
  },
  { name: 'a word too many', args: ['server', '-c', 'x', 'now'], names: ['now'] },
  { name: 'unknown command', args: ['serve'], names: ['serve'] },
];

for (const { name, args, env = {}, names } of REFUSED) {
  t.test(`${name}: one line, exit 2`, async (t) => {
    const { code, stdout, stderr } = await runProgram(args, { env });
    t.equal(code, 2);
    t.equal(stdout, '');
    t.match(stderr, /^error: [^\n]+\n$/, 'one line');
    for (const one of names) t.match(stderr, one);
  });
}

for (const url of ['redis://u:s3cret@h', "redis://:it's-s3cret@h", 'redis://h?password=s3cret']) {
  t.test(`the password of ${url} is not repeated`, async (t) => {
    for (const [args, env] of [
      [[`--redis-url=${url}`], {}],
      [[], { POD_IDENTITY_BROKER_REDIS_URL: url }],
    ] as const) {
      const { code, stderr } = await runProgram(['server', '-c', 'x', ...args], { env });
      t.equal(code, 2);
      t.match(stderr, /^error: .*'redis:\/\/…'.* It must [^\n]+\n$/);
      t.notMatch(stderr, 's3cret');
    }
  });
}

t.test('a variable that is misspelt is told of, and what Kubernetes adds is not', async (t) => {
  const broker = await startBroker({
    t,
    args: ['-c=x'],
    env: {
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_REGION: 'us-east-1',
      POD_IDENTITY_BROKER_CLUSTERNAME: 's3cret',
      POD_IDENTITY_BROKER_SERVER_UID: '1',
      POD_IDENTITY_BROKER_PORT: 'tcp://10.0.0.1:2705',
      POD_IDENTITY_BROKER_SERVICE_HOST: '10.0.0.1',
      POD_IDENTITY_BROKER_SERVICE_PORT_METRICS: '2705',
      POD_IDENTITY_BROKER_PORT_2705_TCP_ADDR: '10.0.0.1',
    },
  });
  t.match(await broker.logged(({ names }) => names !== undefined), {
    level: 'warn',
    names: ['POD_IDENTITY_BROKER_CLUSTERNAME'],
  });
  t.notOk(broker.lines.some((line) => line.includes('s3cret')));
});

t.test('a CA bundle that cannot be used: a line in the log, exit 1', async (t) => {
  const empty = `${t.testdir({ 'empty.pem': '' })}/empty.pem`;
  for (const [file, problem] of [
    ['/no/such/bundle.pem', 'cannot read'],
    [empty, 'no certificate in'],
  ] as const) {
    const { code, stdout, stderr } = await runProgram(['server', '-c', 'x'], {
      env: { AWS_CA_BUNDLE: file },
    });
    t.equal(code, 1);
    t.equal(stderr, '');
    t.match(JSON.parse(stdout), {
      level: 'fatal',
      msg: 'startup failed',
      reason: `AWS_CA_BUNDLE: ${problem} ${file}`,
    });
  }
});

t.test('version', async (t) => {
  const { version } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  ) as { version: string };
  for (const args of [['version'], ['--version'], ['-V']]) {
    const { code, stdout, stderr } = await runProgram(args);
    t.equal(code, 0);
    t.equal(stdout, `pod-identity-broker ${version} (Node.js ${process.version})\n`);
    t.equal(stderr, '');
  }
});

t.test('help', async (t) => {
  const whole = await runProgram(['--help']);
  t.equal(whole.code, 0);
  for (const command of ['server', 'version'])
    t.match(whole.stdout, new RegExp(`^ +${command} `, 'm'));
  const server = await runProgram(['server', '--help']);
  t.equal(server.code, 0);
  t.equal(server.stderr, '');
  t.match(server.stdout, '--cluster-name');
  t.match(server.stdout, /^Addresses:$/m);
});

t.test('no command: the help, as an error', async (t) => {
  const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [main], { encoding: 'utf8' });
  t.equal(status, 2);
  t.equal(stdout, '');
  t.match(stderr, /^Usage: /);
});

t.test('short flags with =, as Go takes them', async (t) => {
  const port = await freePort();
  const broker = await startBroker({
    t,
    env: { AWS_EC2_METADATA_DISABLED: 'true', AWS_REGION: 'us-east-1' },
    args: [
      '-c=by-short-flag',
      `-p=${port}`,
      '-b=127.0.0.1',
      '-v=info',
      '--rotate-credentials',
      'true',
    ],
  });
  const ready = await broker.logged((line) => line.msg === 'ready');
  t.equal(ready.clusterName, 'by-short-flag');
  t.ok(
    broker
      .logs()
      .some(({ msg, address }) => msg === 'listening' && address === `127.0.0.1:${port}`),
  );
  t.equal(await broker.stop(), 0, 'ends well');
});
