import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { runProgram, startBroker, startProgram } from '../support/broker-process.ts';
import { needsProgram } from '../support/needs.ts';
import { until } from '../support/until.ts';

// `status --watch`: shows it again and again, until Ctrl-C.

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
/** The first line of each look. */
const HEAD = /^pod-identity-broker \S+, cluster /;
/** Cursor home, and clear what is below (ECMA-48). */
const CLEAR = '\x1b[H\x1b[J';

const simulator = await startSimulator({ keyAlgorithm: 'ES256' });
t.teardown(() => simulator.close());
simulator.associations.create({
  namespace: 'shop',
  serviceAccount: 'cart',
  roleArn: `arn:aws:iam::${simulator.account}:role/cart`,
});
const start = () => startBroker({ simulator, args: [`--token-issuer=${simulator.issuer}`] });
const looks = (lines: readonly string[]) => lines.filter((line) => HEAD.test(line)).length;

t.test('what changes is seen at the next look, until SIGINT', async (t) => {
  const broker = await start();
  const watching = startProgram(t, [
    'status',
    '--watch=200ms',
    `--admin-socket=${broker.adminSocket}`,
  ]);
  await until(() => looks(watching.lines) >= 2, 'shown twice');
  t.match(watching.lines.join('\n'), /^sessions {2}0: served 0 times/m);
  const { token } = simulator.kubelet.createPod({ namespace: 'shop', serviceAccount: 'cart' });
  t.equal((await broker.get(token)).status, 200);
  await until(() => watching.lines.some((line) => /^shop +cart /.test(line)), 'the new session');
  t.notMatch(watching.lines.join('\n'), CLEAR, 'what no terminal reads is not cleared');
  t.strictSame(await watching.stop('SIGINT'), { code: null, signal: 'SIGINT' });
  t.equal(watching.stderr(), '');
});

t.test('a line of JSON a look', async (t) => {
  const broker = await start();
  const watching = startProgram(t, [
    'status',
    '--json',
    '--watch=100ms',
    `--admin-socket=${broker.adminSocket}`,
  ]);
  await until(() => watching.lines.length >= 3, 'three lines');
  const dates = watching.lines.slice(0, 3).map((line) => Date.parse(JSON.parse(line).now));
  t.ok((dates[2] as number) - (dates[0] as number) >= 200, `looked at ${dates}`);
});

t.test('a broker that is away for a while is waited for', async (t) => {
  const broker = await start();
  const watching = startProgram(t, [
    'status',
    '--watch=100ms',
    `--admin-socket=${broker.adminSocket}`,
  ]);
  await until(() => looks(watching.lines) >= 1, 'shown');
  await broker.stop();
  await until(() => /no broker can be asked/.test(watching.stderr()), 'its absence');
  const before = looks(watching.lines);
  await startBroker({ simulator, succeeds: broker, t });
  await until(() => looks(watching.lines) > before, 'shown again');
  t.match(watching.stderr(), /^(error: no broker can be asked at .*\n)+$/);
});

t.test('nobody there at the first look', async (t) => {
  const { code, stdout, stderr } = await runProgram([
    'status',
    '--watch=100ms',
    '--admin-socket=/no/such/socket',
  ]);
  t.strictSame({ code, stdout }, { code: 1, stdout: '' });
  t.match(stderr, /^error: no broker can be asked at \/no\/such\/socket/);
});

t.test(
  'on a terminal each look takes the place of the last',
  { skip: needsProgram('script') },
  async (t) => {
    const broker = await start();
    const command = `'${process.execPath}' '${MAIN}' status --watch=100ms --admin-socket='${broker.adminSocket}'`;
    const terminal = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    t.teardown(() => terminal.kill('SIGKILL'));
    let shown = '';
    terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
    });
    await until(
      () => shown.split(CLEAR).length > 3,
      () => `drawn three times: ${shown}`,
    );
    for (const look of shown.split(CLEAR).slice(1, 3)) t.match(look.split('\r\n')[0], HEAD);
    t.equal(shown.split(CLEAR)[0], '', 'nothing before the first');
    // What a terminal makes of Ctrl-C.
    terminal.stdin.write('\x03');
    const [code] = await once(terminal, 'exit');
    t.equal(code, 130);
  },
);

t.test('a reader that has seen enough ends it', async (t) => {
  const broker = await start();
  const command = `'${process.execPath}' '${MAIN}' status --watch=100ms --admin-socket='${broker.adminSocket}' | head -1`;
  const shell = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => shell.kill('SIGKILL'));
  let complaint = '';
  shell.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  await once(shell, 'close');
  t.equal(complaint, '');
});
