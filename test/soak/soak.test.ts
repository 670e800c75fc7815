import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Calls } from '../../bench/soak/calls.ts';
import { Findings } from '../../bench/soak/findings.ts';
import { timingOf } from '../../bench/soak/timing.ts';
import type { AuditEvent } from '../../src/simulator/audit.ts';
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

t.test('each session has to live through many renewals', async (t) => {
  t.equal(timingOf(10 * 60_000).minFetches, 10);
  const calls = new Calls();
  const fetched = (serviceAccount: string, status = 200) =>
    calls.observe(
      { service: 'eks-auth', namespace: 'shared', serviceAccount, status, time: 0 } as AuditEvent,
      () => false,
    );
  for (let call = 0; call < 3; call += 1) fetched('often');
  fetched('rarely');
  fetched('rarely');
  fetched('rarely', 500);
  const findings = new Findings();
  calls.checkFetches(2, findings);
  t.equal(findings.count, 0);
  calls.checkFetches(3, findings);
  t.match(findings.lines(), [/too rarely: 1$/, /"fewest":2,"least":3/]);
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
