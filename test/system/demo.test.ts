import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import {
  failure,
  type ServiceAccountReport,
  summary,
  table,
} from '../../src/simulator/demo/report.ts';
import { runProgram } from '../support/broker-process.ts';
import { needsAwsCli, needsNamespaces } from '../support/needs.ts';
import { until } from '../support/until.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** The rows of the table: its cells, by service account. */
function rows(output: string): Record<string, string[]> {
  const lines = output.split('\n');
  const heading = lines.findIndex((line) => line.startsWith('service account '));
  const body = lines.slice(heading + 1, lines.indexOf('', heading));
  return Object.fromEntries(
    body.map((line) => {
      const [serviceAccount = '', ...cells] = line.split(/\s{2,}/);
      return [serviceAccount, cells];
    }),
  );
}

t.test('every pod comes out as the role of its service account', async (t) => {
  const folder = t.testdir({});
  const { code, stdout, stderr } = await runProgram(
    ['demo', '--pods', '5', '--service-accounts=2'],
    { env: { TMPDIR: folder } },
  );
  t.strictSame({ code, stderr }, { code: 0, stderr: '' });
  t.match(stdout, /^pods {11}5 of 5 done/m, 'progress');
  t.strictSame(rows(stdout), {
    'app-1': ['app-1-role', '3', '6', '1'],
    'app-2': ['app-2-role', '2', '4', '1'],
  });
  t.equal(
    stdout.trimEnd().split('\n').at(-1),
    '5 pods, 10 credential requests, 2 calls to EKS Auth (5x fewer)',
  );
  t.strictSame(readdirSync(folder), [], 'leaves nothing behind');
});

t.test('on network namespaces', { skip: needsNamespaces() }, async (t) => {
  const folder = t.testdir({});
  const { code, stdout, stderr } = await runProgram(['demo', '--netns', '--pods=2'], {
    env: { TMPDIR: folder },
  });
  t.strictSame({ code, stderr }, { code: 0, stderr: '' });
  t.match(stdout, '169.254.170.23:80 and [fd00:ec2::23]:80');
  t.strictSame(rows(stdout), {
    'app-1': ['app-1-role', '1', '2', '1'],
    'app-2': ['app-2-role', '1', '2', '1'],
  });
  t.strictSame(readdirSync(folder), [], 'leaves nothing behind');
});

t.test('flags that are wrong', async (t) => {
  const wrong: [string, string[]][] = [
    ['--pods', ['--pods=0']],
    ['--pods', ['--pods=many']],
    ['--pods', ['--pods']],
    ['--service-accounts', ['--service-accounts=1001']],
    ['--service-accounts', ['--service-accounts=3', '--pods=2']],
    ['--podz', ['--podz=3']],
  ];
  const results = await Promise.all(
    wrong.map(([, flags]) => runProgram(['demo', ...flags], { env: {} })),
  );
  for (const [index, { code, stdout, stderr }] of results.entries()) {
    const [flag, given] = wrong[index] as [string, string[]];
    t.strictSame({ code, stdout }, { code: 2, stdout: '' }, given.join(' '));
    t.match(stderr, new RegExp(`^error: [^\\n]*${flag}[^\\n]*\\n$`));
  }
});

t.test('--keep makes a shell one of the pods', { skip: needsAwsCli() }, async (t) => {
  const demo = keep(t);
  const lines = (await demo.saidAll()).split('\n');
  const first = lines.findIndex((line) => line.startsWith('unset '));
  const last = lines.findIndex((line) => line.endsWith('aws sts get-caller-identity'));
  const pasted = lines.slice(first, last + 1).join('\n');
  t.match(pasted, /^export AWS_CONTAINER_CREDENTIALS_FULL_URI=http:\/\/127/m);
  const shell = spawnSync('sh', ['-c', pasted], {
    encoding: 'utf8',
    // A shell that is somebody already.
    env: { ...process.env, AWS_ACCESS_KEY_ID: 'AKIAOTHER', AWS_PROFILE: 'other' },
  });
  t.equal(shell.status, 0, shell.stderr);
  t.match(JSON.parse(shell.stdout || '{}'), { Arn: /:assumed-role\/app-1-role\/eks-demo-app-1-/ });
  const [, status = ''] = lines.find((line) => line.startsWith('Status: '))?.split(' -- ') ?? [];
  const { code, stdout } = await runProgram(status.split(' '));
  t.equal(code, 0);
  t.match(stdout, /^demo +app-1 +service-account +app-1-role /m);
  t.equal(await demo.end('SIGINT'), 0, 'ends on Ctrl-C');
  t.strictSame(readdirSync(demo.folder), [], 'leaves nothing behind');
});

t.test('says that the simulator is lost', { skip: notOnLinux() }, async (t) => {
  const demo = keep(t);
  await demo.saidAll();
  for (const pid of childrenOf(demo.child)) {
    if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('\0simulate\0')) process.kill(pid);
  }
  const [code] = await once(demo.child, 'close');
  t.equal(code, 1);
  t.match(demo.stderr(), /^error: simulate ended \(exit 0\)/);
  t.strictSame(readdirSync(demo.folder), [], 'leaves nothing behind');
});

t.test('takes everything away when it is interrupted', { skip: notOnLinux() }, async (t) => {
  const demo = keep(t);
  await until(() => demo.stdout().includes('simulated EKS'), demo.stderr);
  const children = childrenOf(demo.child);
  t.not(children.length, 0);
  t.equal(await demo.end('SIGTERM'), 143);
  t.strictSame(readdirSync(demo.folder), []);
  for (const pid of children) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

t.test('the report of what went wrong', async (t) => {
  const good: ServiceAccountReport = {
    serviceAccount: 'app-1',
    expectedRole: 'app-1-role',
    roles: ['app-1-role'],
    pods: 1,
    requests: 2,
    calls: 1,
    problems: [],
  };
  t.equal(failure([good]), undefined);
  t.equal(summary([good]), '1 pod, 2 credential requests, 1 call to EKS Auth (2x fewer)');
  const lost = { ...good, roles: [], pods: 12, problems: Array(11).fill('demo/app-1-x: no') };
  t.match(rows(`${table([lost])}\n`), { 'app-1': ['none', '12', '2', '1'] });
  const reason = failure([good, lost])?.split('\n');
  t.match(reason?.[0], /^11 of 13 pods did not come out as the role/);
  t.equal(reason?.at(-1), '  and 1 more');
  t.equal(
    summary([{ ...good, requests: 0, calls: 0 }]),
    '1 pod, 0 credential requests, 0 calls to EKS Auth',
  );
});

/** A demo that goes on running. */
function keep(t: Test) {
  // Its path is short enough for a socket in a folder in it, unlike that of tap's.
  const folder = mkdtempSync(join(tmpdir(), 'keep-'));
  const child = spawn(process.execPath, [MAIN, 'demo', '--keep', '--pods=1'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { TMPDIR: folder },
  });
  t.teardown(async () => {
    await end('SIGTERM');
    rmSync(folder, { recursive: true });
  });
  const closed = once(child, 'close');
  const stdout = textOf(child.stdout);
  const stderr = textOf(child.stderr);
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    child.kill(signal);
    const [code] = await closed;
    return code;
  };
  return {
    child,
    folder,
    stdout,
    stderr,
    end,
    /** All of its output, once it says no more. */
    async saidAll(): Promise<string> {
      await until(
        () => {
          if (child.exitCode !== null) throw new Error(`ended: ${stderr()}`);
          return stdout().includes('until Ctrl-C');
        },
        () => `all of the demo's output: ${stdout()}${stderr()}`,
        120_000,
      );
      return stdout();
    },
  };
}

function textOf(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  return () => text;
}

function childrenOf({ pid }: ChildProcess): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return children.split(' ').filter(Boolean).map(Number);
}

function notOnLinux(): string | false {
  return process.platform === 'linux' ? false : 'needs /proc';
}
