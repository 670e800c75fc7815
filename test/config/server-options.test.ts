import { Command } from 'commander';
import t from 'tap';
import type { Config } from '../../src/config/config.ts';
import { addServerOptions, ENVIRONMENT_PREFIX } from '../../src/config/server-options.ts';
import { complaint, NAME, read, type Variables } from './read-flags.ts';

t.test('defaults are those of the existing agent, and the broker’s own', async (t) => {
  const hours = 3_600_000;
  t.hasStrict(read(NAME), {
    clusterName: 'prod',
    // The existing agent's.
    port: 80,
    probePort: 2703,
    metricsAddress: '0.0.0.0',
    metricsPort: 2705,
    bindHosts: ['169.254.170.23', 'fd00:ec2::23'],
    maxCredentialRetention: 3 * hours,
    maxCacheSize: 2000,
    maxServiceQps: 3,
    rotateCredentials: false,
    endpoint: undefined,
    verbosity: 'info',
    // The broker's.
    bindHostsNamed: false,
    clientWait: 1_900,
    connectTimeout: 1_000,
    attemptTimeout: 10_000,
    flightTimeout: 30_000,
    sessionScope: 'service-account',
    podScope: [],
    tokenIssuer: undefined,
    tokenAudience: 'pods.eks.amazonaws.com',
    jwksFile: undefined,
    jwksUri: undefined,
    kubeconfig: undefined,
    nodeName: undefined,
    maxUnverifiedQps: 5,
    maxUnverifiedQpsPerAddress: 1,
    workers: 1,
  });
});

/**
 * Every flag, the member of Config that it sets, a value, and what is read from it. The
 * value is none that a default has.
 */
const FLAGS: Readonly<Record<string, readonly [keyof Config, string, unknown]>> = {
  'cluster-name': ['clusterName', 'my_Cluster-1', 'my_Cluster-1'],
  endpoint: ['endpoint', 'http://127.0.0.1:8090', new URL('http://127.0.0.1:8090')],
  'rotate-credentials': ['rotateCredentials', 'true', true],
  kubeconfig: ['kubeconfig', '/etc/kubeconfig', '/etc/kubeconfig'],
  'bind-hosts': ['bindHosts', '127.0.0.1,[::1]', ['127.0.0.1', '::1']],
  port: ['port', '8080', 8_080],
  'probe-port': ['probePort', '2704', 2_704],
  'ready-id': ['readyId', 'a1b2c3', 'a1b2c3'],
  'metrics-address': ['metricsAddress', '[::1]', '::1'],
  'metrics-port': ['metricsPort', '2706', 2_706],
  'max-pod-qps': ['maxPodQps', '77', 77],
  'admin-socket': ['adminSocket', '/run/other.sock', '/run/other.sock'],
  'session-scope': ['sessionScope', 'pod', 'pod'],
  'pod-scope': [
    'podScope',
    'shop,bank/till',
    [
      { namespace: 'shop', serviceAccount: undefined },
      { namespace: 'bank', serviceAccount: 'till' },
    ],
  ],
  'max-credential-retention-before-renewal': ['maxCredentialRetention', '1h30m', 5_400_000],
  'max-cache-size': ['maxCacheSize', '0', 0],
  'token-issuer': ['tokenIssuer', 'https://issuer.example/', 'https://issuer.example/'],
  'token-audience': ['tokenAudience', 'sts.amazonaws.com', 'sts.amazonaws.com'],
  'jwks-file': ['jwksFile', '/keys.json', '/keys.json'],
  'jwks-uri': ['jwksUri', 'https://issuer.example/keys', new URL('https://issuer.example/keys')],
  'jwks-cache': ['jwksCache', '/var/cache/keys.json', '/var/cache/keys.json'],
  'watch-pods': ['watchPods', 'enforce', 'enforce'],
  'strict-address': ['strictAddress', 'true', true],
  'startup-taint': ['startupTaint', 'example.com/not-ready', 'example.com/not-ready'],
  'max-verified-tokens': ['maxVerifiedTokens', '100', 100],
  'max-unverified-qps': ['maxUnverifiedQps', '2.5', 2.5],
  'max-unverified-qps-per-address': ['maxUnverifiedQpsPerAddress', '0.5', 0.5],
  'max-call-qps': ['maxCallQps', '50', 50],
  'max-service-qps': ['maxServiceQps', '7', 7],
  'client-wait': ['clientWait', '950ms', 950],
  'connect-timeout': ['connectTimeout', '2s', 2_000],
  'attempt-timeout': ['attemptTimeout', '5s', 5_000],
  'flight-timeout': ['flightTimeout', '1m', 60_000],
  workers: ['workers', '2', 2],
  'trust-traceparent': ['trustTraceparent', 'true', true],
  'metrics-service-accounts': ['metricsServiceAccounts', 'true', true],
  verbosity: ['verbosity', 'trace', 'trace'],
};

/** What a flag does not go without. */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  'cluster-name': [],
  'strict-address': [...NAME, '--watch-pods=audit'],
};
const NODE = { NODE_NAME: 'node-1' };

// Those of Redis need each other: redis-options.test.ts.
const options = addServerOptions(new Command('server')).options.filter(
  (option) => !option.name().startsWith('redis-'),
);

for (const option of options) {
  const name = option.name();
  t.test(`--${name}`, async (t) => {
    const sample = FLAGS[name];
    if (sample === undefined) throw new Error('the table of flags in this file lacks it');
    const [member, text, expected] = sample;
    const variable = `POD_IDENTITY_BROKER_${name.toUpperCase().replaceAll('-', '_')}`;
    const others = NEEDED[name] ?? NAME;
    if (name !== 'cluster-name') t.notSame(read(NAME)[member], expected, 'is no default');
    t.strictSame(read([...others, `--${name}`, text], NODE)[member], expected, 'with a blank');
    t.strictSame(read([...others, `--${name}=${text}`], NODE)[member], expected, 'with =');
    t.strictSame(
      read(others, { ...NODE, [variable]: text })[member],
      expected,
      'from its variable',
    );
    t.strictSame(
      read([...others, `--${name}=${text}`], { ...NODE, [variable]: OTHER[name] ?? text })[member],
      expected,
      'the flag wins over its variable',
    );
    if (option.short !== undefined && option.short !== null) {
      t.strictSame(read([...others, option.short, text])[member], expected, 'short');
      t.strictSame(read([...others, `${option.short}${text}`])[member], expected, 'short, joined');
    }
  });
}

/** Values for the variables that a flag wins over: none that is in the table above. */
const OTHER: Readonly<Record<string, string>> = {
  'cluster-name': 'other',
  'rotate-credentials': 'false',
  'bind-hosts': '10.0.0.1',
  port: '81',
  'pod-scope': 'other',
  'session-scope': 'token',
  'client-wait': '1s',
  'max-cache-size': '1',
  // What is not even read cannot be wrong.
  workers: 'none',
  endpoint: 'nowhere',
};

t.test('what is about this node needs its name', async (t) => {
  t.match(read([...NAME, '--watch-pods=audit'], NODE), { watchPods: 'audit', nodeName: 'node-1' });
  t.match(read(NAME), { watchPods: 'off', strictAddress: false, startupTaint: undefined });
  for (const [args, said] of [
    [['--watch-pods=audit'], /--watch-pods=audit needs NODE_NAME/],
    [['--watch-pods=enforce'], /--watch-pods=enforce needs NODE_NAME/],
    [['--startup-taint=a'], /--startup-taint needs NODE_NAME/],
    [['--strict-address'], /--strict-address needs --watch-pods=audit or/],
    [['--watch-pods=on'], /must be one of off, audit, enforce/],
    [['--startup-taint=a b'], /must be the key of a taint/],
  ] as const) {
    t.match(complaint([...NAME, ...args]), said);
  }
});

t.test('nothing is tested that does not exist', async (t) => {
  t.strictSame(Object.keys(FLAGS).toSorted(), options.map((option) => option.name()).toSorted());
});

t.test('short flags are those of the existing agent', async (t) => {
  t.strictSame(
    options.flatMap(({ short, long }) => (short ? [`${short} ${long}`] : [])).toSorted(),
    ['-b --bind-hosts', '-c --cluster-name', '-p --port', '-v --verbosity'],
  );
});

t.test('booleans in all the forms that there are', async (t) => {
  const rotates = (args: readonly string[], variables?: Variables) =>
    read([...NAME, ...args], variables).rotateCredentials;
  const flag = '--rotate-credentials';
  const variable = 'POD_IDENTITY_BROKER_ROTATE_CREDENTIALS';
  t.equal(rotates([]), false);
  t.equal(rotates([flag]), true, 'alone, at the end');
  t.equal(rotates([flag, '--port', '81']), true, 'alone, before another flag');
  t.equal(read([flag, ...NAME]).clusterName, 'prod', 'and that other flag is read');
  for (const text of ['true', '1', 't', 'T', 'TRUE', 'True']) {
    t.equal(rotates([`${flag}=${text}`]), true, `=${text}`);
    t.equal(rotates([flag, text]), true, text);
    t.equal(rotates([], { [variable]: text }), true, `variable ${text}`);
  }
  for (const text of ['false', '0', 'f', 'F', 'FALSE', 'False']) {
    t.equal(rotates([`${flag}=${text}`]), false, `=${text}`);
    t.equal(rotates([flag, text]), false, text);
    t.equal(rotates([], { [variable]: text }), false, `variable ${text}`);
    t.equal(rotates([flag], { [variable]: text }), true, `flag over variable ${text}`);
  }
  t.equal(rotates([flag, 'true', flag, 'false']), false, 'the last one counts');
});

t.test('what the existing agent takes', async (t) => {
  for (const [text, level] of [
    ['INFO', 'info'],
    ['Debug', 'debug'],
    ['wArNiNg', 'warning'],
  ] as const) {
    t.equal(read([...NAME, '-v', text]).verbosity, level);
  }
  const retention = (text: string) =>
    read([...NAME, `--max-credential-retention-before-renewal=${text}`]).maxCredentialRetention;
  t.equal(retention('720h'), 2 ** 31 - 1, 'longer than any credentials live');
  t.equal(retention('0'), 0);
});

t.test('a Service that is named as the broker is sets no port', async (t) => {
  t.equal(read(NAME, { POD_IDENTITY_BROKER_PORT: 'tcp://10.0.0.1:2705' }).port, 80);
  t.equal(read(NAME, { POD_IDENTITY_BROKER_PORT: '8080' }).port, 8080);
});

t.test('addresses, repeated or with commas', async (t) => {
  const hosts = (...args: string[]) => read([...NAME, ...args]).bindHosts;
  t.strictSame(hosts('--bind-hosts', '127.0.0.1'), ['127.0.0.1'], 'in place of the defaults');
  t.strictSame(hosts('-b', '127.0.0.1', '--bind-hosts=[::1]'), ['127.0.0.1', '::1']);
  t.strictSame(hosts('-b', '127.0.0.1,[fd00:ec2::23]', '-b', 'fd00::1'), [
    '127.0.0.1',
    'fd00:ec2::23',
    'fd00::1',
  ]);
  t.strictSame(hosts('-b', '::1', '-b', '[::1],0:0:0:0:0:0:0:1'), ['::1'], 'each once');
  t.equal(read([...NAME, '-b', '169.254.170.23']).bindHostsNamed, true);
  t.equal(read(NAME, { POD_IDENTITY_BROKER_BIND_HOSTS: '127.0.0.1' }).bindHostsNamed, true);
  t.strictSame(
    read([...NAME, '-b', '127.0.0.1'], { POD_IDENTITY_BROKER_BIND_HOSTS: '127.0.0.2' }).bindHosts,
    ['127.0.0.1'],
    'not those of the variable too',
  );
});

t.test('rules for sessions of a pod, repeated or with commas', async (t) => {
  t.strictSame(read([...NAME, '--pod-scope', 'a', '--pod-scope=b/c,d']).podScope, [
    { namespace: 'a', serviceAccount: undefined },
    { namespace: 'b', serviceAccount: 'c' },
    { namespace: 'd', serviceAccount: undefined },
  ]);
});

t.test('no flag: the name of the node', async (t) => {
  t.equal(read(NAME, { NODE_NAME: 'ip-10-0-0-1' }).nodeName, 'ip-10-0-0-1');
  t.equal(read(NAME, { NODE_NAME: '' }).nodeName, undefined);
});

t.test('the configuration is frozen', async (t) => {
  const config = read([...NAME, '--pod-scope', 'shop']);
  t.ok(Object.isFrozen(config));
  t.ok(Object.isFrozen(config.bindHosts));
  t.ok(Object.isFrozen(config.podScope));
  t.throws(() => Object.assign(config, { port: 1 }), TypeError);
  t.throws(() => (config.bindHosts as string[]).push('0.0.0.0'), TypeError);
});

t.test('a value that is wrong: the flag is named, and where it came from', async (t) => {
  for (const [name, ...values] of [
    ['cluster-name', '', '-x', 'a.b', 'x'.repeat(101)],
    ['endpoint', '', 'eks-auth.us-east-1.api.aws', 'ftp://host', 'https://user:pw@host'],
    ['rotate-credentials', 'yes', 'maybe'],
    ['bind-hosts', '', 'example.com', '127.0.0.1:80', '127.0.0.1,,::1'],
    ['port', '', '0', '65536', 'http', '80.5', '-1'],
    ['probe-port', '0', 'x'],
    ['metrics-address', '', '0.0.0.0,::', 'host'],
    ['metrics-port', '70000'],
    ['max-pod-qps', '-1', 'x'],
    ['session-scope', '', 'node', 'Pod'],
    ['pod-scope', '', 'Shop', 'a/b/c', 'a,,b'],
    ['max-credential-retention-before-renewal', '', '3', '3 hours', '-3h'],
    ['max-cache-size', '-1', '1.5', 'many'],
    ['token-issuer', '', 'issuer', 'http://issuer.example', 'https://issuer.example?x=1'],
    ['jwks-uri', 'http://10.0.0.1/keys', 'keys.json'],
    ['max-verified-tokens', '0', 'x'],
    ['max-unverified-qps', '0', '-1', 'x'],
    ['max-unverified-qps-per-address', '0'],
    ['max-call-qps', '0', 'x'],
    ['max-service-qps', '0', '-3', 'x'],
    ['client-wait', '0', '0s', '1', '500ns', 'x'],
    ['connect-timeout', '0', 'soon'],
    ['attempt-timeout', '0s'],
    ['flight-timeout', '0ms'],
    ['workers', '0', '65', '1.5'],
    ['verbosity', '', 'loud', 'in fo'],
  ] as const) {
    const variable = ENVIRONMENT_PREFIX + name.toUpperCase().replaceAll('-', '_');
    const others = name === 'cluster-name' ? [] : NAME;
    for (const text of values) {
      const shown = `${name}=${text.slice(0, 20)}`;
      const given = complaint([...others, `--${name}=${text}`]);
      t.match(given, new RegExp(`^error: option '(-., )?--${name}[ ']`), shown);
      t.match(given, / is invalid\. It (must|cannot) .*\.$/, `${shown}: says what is wrong`);
      t.notMatch(given, /\n/, `${shown}: in one line`);
      const taken = complaint(others, { [variable]: text });
      t.match(taken, `--${name}`, `${shown} from its variable`);
      t.match(taken, `from env '${variable}'`, `${shown}: its variable is named`);
      t.notMatch(taken, /\n/);
    }
  }
});

t.test('a flag without its value, and a mandatory one that is not there', async (t) => {
  t.match(complaint([]), /--cluster-name.* not specified/);
  t.match(complaint(['--port', '80']), /--cluster-name.* not specified/);
  t.match(complaint(['-c']), /--cluster-name.* argument missing/);
  t.match(complaint([...NAME, '--port']), /--port.* argument missing/);
  t.match(complaint([...NAME, '--endpoint']), /--endpoint.* argument missing/);
});

t.test('flags and words that do not exist', async (t) => {
  t.match(complaint([...NAME, '--portt', '80']), /unknown option '--portt'/);
  t.match(complaint([...NAME, '--no-rotate-credentials']), /unknown option/);
  t.match(complaint([...NAME, '-x']), /unknown option '-x'/);
  t.match(complaint([...NAME, 'now']), /too many arguments/);
});

t.test('help: groups, defaults, variables', async (t) => {
  const help = addServerOptions(new Command('server'))
    .configureHelp({ helpWidth: 1_000 })
    .helpInformation();
  for (const group of [
    'Cluster:',
    'Addresses:',
    'Sessions:',
    'Tokens:',
    'Calls to EKS Auth:',
    'Output:',
  ]) {
    t.match(help, new RegExp(`^${group}$`, 'm'), group);
  }
  const line = (flag: string) => help.split('\n').find((one) => one.includes(`${flag} `)) ?? '';
  for (const option of options) {
    t.match(line(`--${option.name()}`), `env: ${option.envVar}`, `--${option.name()}: variable`);
    t.not(option.description, '', `--${option.name()}: description`);
  }
  for (const [flag, shown] of [
    ['--port', 'default: 80'],
    ['--probe-port', 'default: 2703'],
    ['--metrics-address', 'default: "0.0.0.0"'],
    ['--metrics-port', 'default: 2705'],
    ['--bind-hosts', 'default: 169.254.170.23, fd00:ec2::23'],
    ['--max-credential-retention-before-renewal', 'default: 3h'],
    ['--max-cache-size', 'default: 2000'],
    ['--max-service-qps', 'default: 3'],
    ['--rotate-credentials', 'default: false'],
    ['--verbosity', 'default: "info"'],
    ['--client-wait', 'default: 1.9s'],
    ['--session-scope', 'default: "service-account"'],
    ['--workers', 'default: 1'],
  ] as const) {
    t.match(line(flag), shown, flag);
  }
});
