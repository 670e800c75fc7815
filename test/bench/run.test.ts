import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { Results } from '../../bench/report/results.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Runs the suite, with everything small. */
async function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, ['bench/main.ts', ...args], { cwd: root });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  }
  const [code] = (await once(child, 'close')) as [number];
  return { code, ...output };
}

const SMALL = [
  '--scenario',
  'density',
  '--set',
  'density.combinations=[{"pods":6,"processes":2,"serviceAccounts":2}]',
];

t.test('a run ends with figures in all forms', async (t) => {
  const results = t.testdir();
  const { code, stdout, stderr } = await bench(
    ...SMALL,
    ...['--program', 'src/main.ts', '--results', results],
  );
  t.equal(code, 0, stderr);
  t.match(stderr, /6 pods × 2, service-account: all ask at once/, 'progress');
  t.match(stdout, /token scope \(the existing agent's key up to 0\.1\.x\)/);
  const files = readdirSync(results).toSorted();
  t.match(files, [/^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.json$/, 'report.html']);
  const written = JSON.parse(readFileSync(join(results, files[0] ?? ''), 'utf8')) as Results;
  t.equal(written.config.seed, 1);
  t.equal(written.machine.node, process.version);
  const figures = written.scenarios.density?.figures as {
    variant: string;
    first: { calls: number };
    rotated: { calls: number };
  }[];
  const calls = figures.map(({ variant, first, rotated }) => [variant, first.calls, rotated.calls]);
  t.same(calls, [
    ['service-account', 2, 0],
    ['pod', 6, 0],
    ['token', 6, 6],
  ]);
});

t.test('a run whose target answers wrongly has no figures', async (t) => {
  const results = join(t.testdir(), 'none');
  const program = fileURLToPath(new URL('wrong-program.ts', import.meta.url));
  const { code, stdout, stderr } = await bench(
    ...SMALL,
    ...['--program', program, '--results', results],
  );
  t.equal(code, 1);
  t.equal(stdout, '');
  t.match(stderr, /This run is broken, and has no results: pod \S+ of \S+ was given what nobody/);
  t.notOk(existsSync(results));
});

t.test('a wrong command line says which word', async (t) => {
  const { code, stdout, stderr } = await bench('--set', 'density.latency=slow');
  t.equal(code, 2);
  t.equal(stdout, '');
  t.equal(stderr, 'error: density.latency must be a number\n');
});
