import { Command } from 'commander';
import t from 'tap';
import { redisTarget } from '../../src/config/redis-url.ts';
import { addServerOptions, serverConfig } from '../../src/config/server-options.ts';

function config(...args: string[]) {
  const command = addServerOptions(new Command('server')).exitOverride();
  command.configureOutput({ writeErr: () => undefined });
  command.parse(['--cluster-name=c', ...args], { from: 'user' });
  return serverConfig(command, { NODE_NAME: 'node-1' });
}

const URL = '--redis-url=redis://cache';
const KEY = '--redis-key-file=/key';

t.test('without --redis-url there is no Redis', async (t) => {
  t.equal(config().redis, undefined);
});

t.test('the defaults', async (t) => {
  t.strictSame(config(URL, KEY).redis, {
    target: {
      kind: 'server',
      tls: false,
      servers: [{ host: 'cache', port: 6379 }],
      primary: '',
      database: 0,
    },
    sharing: 'node',
    keyFile: '/key',
    username: undefined,
    passwordFile: undefined,
    sentinelUsername: undefined,
    sentinelPasswordFile: undefined,
    caFile: undefined,
    budget: 50,
    nodeName: 'node-1',
  });
});

/** Every flag with a value that is no default. */
const FLAGS: Readonly<Record<string, string>> = {
  '--redis-url': 'rediss+sentinel://cache/main',
  '--redis-sharing': 'cluster',
  '--redis-key-file': '/key',
  '--redis-username': 'broker',
  '--redis-password-file': '/password',
  '--redis-sentinel-username': 'watcher',
  '--redis-sentinel-password-file': '/sentinel-password',
  '--redis-ca-file': '/ca.pem',
  '--redis-budget': '20ms',
};

t.test('each flag has its variable, and wins over it', async (t) => {
  const command = addServerOptions(new Command('server'));
  const options = command.options.filter(({ long }) => long?.startsWith('--redis-'));
  t.strictSame(options.map(({ long }) => long).toSorted(), Object.keys(FLAGS).toSorted());
  const given = Object.entries(FLAGS).map(([flag, value]) => `${flag}=${value}`);
  const byFlags = config(...given).redis;
  t.match(byFlags, {
    target: { tls: true },
    sharing: 'cluster',
    sentinelUsername: 'watcher',
    sentinelPasswordFile: '/sentinel-password',
    budget: 20,
    caFile: '/ca.pem',
  });
  const variables = options.map(({ long, envVar }) => [envVar ?? '', FLAGS[long ?? ''] ?? '']);
  t.teardown(() => {
    for (const [name = ''] of variables) delete process.env[name];
  });
  for (const [name = '', value] of variables) process.env[name] = value;
  t.strictSame(config().redis, byFlags);
  for (const [name = ''] of variables) process.env[name] = 'other';
  t.strictSame(config(...given).redis, byFlags);
});

t.test('what does not go together is refused by name', async (t) => {
  for (const [args, said] of [
    [[KEY], /--redis-key-file needs --redis-url/],
    [['--redis-sharing=cluster'], /--redis-sharing needs --redis-url/],
    [['--redis-budget=1s'], /--redis-budget needs --redis-url/],
    [[URL], /--redis-url needs --redis-key-file/],
    [[URL, KEY, '--redis-ca-file=/ca'], /--redis-ca-file needs .* rediss/],
    [[URL, KEY, '--redis-username=u'], /--redis-username needs --redis-password-file/],
    [[URL, KEY, '--redis-sentinel-password-file=/p'], /needs a --redis-url with \+sentinel/],
    [
      ['--redis-url=redis+sentinel://cache/main', KEY, '--redis-sentinel-username=u'],
      /--redis-sentinel-username needs --redis-sentinel-password-file/,
    ],
    [[URL, KEY, '--redis-sharing=cluster', '--session-scope=pod'], /nothing to share/],
    [[URL, KEY, '--max-cache-size=0'], /--max-cache-size 0/],
    [[URL, KEY, '--max-credential-retention-before-renewal=0'], /before-renewal 0/],
    [[URL, KEY, '--redis-sharing=all'], /must be one of node, cluster/],
    [[URL, KEY, '--redis-budget=0'], /must be at least 1ms/],
  ] as const) {
    t.throws(() => config(...args), { message: said }, args.join(' '));
  }
});

t.test('addresses', async (t) => {
  const servers = (url: string) =>
    redisTarget(url).servers.map(({ host, port }) => `${host} ${port}`);
  t.match(redisTarget('rediss://cache.example:6380/3'), { kind: 'server', tls: true, database: 3 });
  t.strictSame(servers('redis://[fd00::1]:7000'), ['fd00::1 7000']);
  t.match(redisTarget('redis+sentinel://a,b:26380/main/2'), {
    kind: 'sentinel',
    primary: 'main',
    database: 2,
  });
  t.strictSame(servers('redis+sentinel://a,b:26380/main'), ['a 26379', 'b 26380']);
  t.match(redisTarget('rediss+cluster://a,b'), { kind: 'cluster', tls: true });
  for (const [url, said] of [
    ['http://cache', /must be of the form/],
    ['redis://', /must be of the form/],
    ['redis://cache?db=1', /must be of the form/],
    ['redis://cache/main', /must be of the form/],
    ['redis://a,b', /must name one server/],
    ['redis://cache:0', /HOST:PORT/],
    ['redis://cache:99999', /HOST:PORT/],
    ['redis+sentinel://a', /name of the primary/],
    ['redis+cluster://a/1', /one database/],
  ] as const) {
    t.throws(() => redisTarget(url), { name: 'TypeError', message: said }, url);
  }
});

t.test('a password in the address is refused, and not repeated', async (t) => {
  t.throws(() => redisTarget('redis://user:hunter2@cache'), {
    message: /must hold no user name or password/,
  });
  try {
    redisTarget('redis://user:hunter2@cache');
  } catch (error) {
    t.notMatch((error as Error).message, /hunter2/);
  }
});
