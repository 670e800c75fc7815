import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { testOutputEnvironment } from '../../src/simulator/test-output.ts';

// A few seconds of `npm run soak`, to see that it works; what it is for takes minutes.

const SOAK = fileURLToPath(new URL('../../bench/soak/soak.ts', import.meta.url));

function soak(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [SOAK, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, ...testOutputEnvironment },
  });
  return { status, stdout, stderr };
}

t.test('a few seconds of it', async (t) => {
  const { status, stdout, stderr } = soak('--minutes', '0.08', '--seed', '7');
  if (status !== 0) t.comment(stdout + stderr);
  t.equal(status, 0, 'it holds');
  t.match(stdout, /^seed 7\n/);
  const figure = (name: string) => {
    const line = stdout.split('\n').find((text) => text.startsWith(name)) ?? '';
    return Number(line.slice(name.length).replaceAll(',', '').trim());
  };
  t.ok(figure('requests of pods') > 100, 'pods have asked');
  t.ok(figure('answers held against the audit log') > 100, 'and were answered');
  t.ok(figure('requests with forged tokens') > 0);
  t.ok(figure('calls to EKS Auth') > 10);
  t.equal(figure('wrong answers'), 0);
  t.equal(figure('double fetches'), 0);
  t.equal(figure('exit code of the broker'), 0);
  t.match(stdout, /Nothing went wrong\.\n$/);
});

t.test('a command line that is wrong', async (t) => {
  for (const args of [
    ['--minutes', '0'],
    ['--minutes', 'x'],
    ['--seed', 'x'],
    ['--hours', '1'],
  ]) {
    const { status, stderr } = soak(...args);
    t.equal(status, 2, args.join(' '));
    t.match(stderr, /^error: .+\n$/);
  }
  t.match(soak('--help'), { status: 0, stdout: /--minutes N/ });
});
