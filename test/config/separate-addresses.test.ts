import t from 'tap';
import { complaint, NAME, read } from './read-flags.ts';

t.test('addresses for pods of which one takes in the other', async (t) => {
  for (const hosts of [
    ['0.0.0.0', '127.0.0.1'],
    ['169.254.170.23', '0.0.0.0'],
    ['localhost', '127.0.0.1'],
    ['::1', 'localhost'],
    ['localhost', '0.0.0.0'],
    ['localhost', '::'],
    ['::', 'fd00:ec2::23'],
  ]) {
    const said = `error: --bind-hosts: ${hosts[0]} and ${hosts[1]} overlap`;
    t.equal(complaint([...NAME, '-b', hosts.join(',')]), said);
  }
  t.equal(
    complaint(NAME, { POD_IDENTITY_BROKER_BIND_HOSTS: 'localhost,127.0.0.1' }),
    "error: --bind-hosts (from env 'POD_IDENTITY_BROKER_BIND_HOSTS'): localhost and 127.0.0.1 overlap",
  );
  for (const hosts of [
    ['0.0.0.0', '::'],
    ['::', '127.0.0.1'],
    ['127.0.0.1', '::1'],
    ['127.0.0.1', '127.0.0.2'],
  ]) {
    t.strictSame(read([...NAME, '-b', hosts.join(',')]).bindHosts, hosts);
  }
  t.strictSame(read([...NAME, '-b', '127.0.0.1,::ffff:127.0.0.1']).bindHosts, ['127.0.0.1']);
});

t.test('two sockets of the broker on one address', async (t) => {
  for (const [args, one, other] of [
    [['--probe-port=2705'], '--metrics-port', '--probe-port'],
    [['--metrics-port=80'], '--metrics-port', '--port'],
    [['-p=2703', '-b', '127.0.0.1'], '--probe-port', '--port'],
    [['--port', '2703', '-b', 'localhost'], '--probe-port', '--port'],
    [['--port', '2703', '-b', '0.0.0.0'], '--probe-port', '--port'],
    [['--port', '2703', '-b', '::'], '--probe-port', '--port'],
  ] as const) {
    const shown = args.join(' ');
    const given = complaint([...NAME, ...args.map((arg) => arg.replace(/^-p=/, '-p'))]);
    t.match(
      given,
      new RegExp(`^error: ${one} and ${other} are both \\d+, on the same address$`),
      shown,
    );
  }
  t.match(
    complaint(NAME, { POD_IDENTITY_BROKER_PROBE_PORT: '2705' }),
    "--probe-port (from env 'POD_IDENTITY_BROKER_PROBE_PORT')",
  );
  t.equal(read([...NAME, '--port', '2703']).port, 2_703, 'the same port of other addresses');
  t.equal(read([...NAME, '--metrics-address=10.0.0.1', '--metrics-port=2703']).metricsPort, 2_703);
});
