import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { checkCanWrite } from '../../bench/harness/can-write.ts';
import type { ScenarioResult } from '../../bench/report/results.ts';
import { until } from '../support/until.ts';
import { programHere, readResults, runBench, startBench } from './run-bench.ts';

const SOURCES = ['--program', 'src/main.ts'];
const SMALL = [
  '--scenario',
  'density',
  '--set',
  'density.combinations=[{"pods":6,"processes":2,"serviceAccounts":2}]',
];

interface DensityRounds {
  variant: string;
  rounds: { first: { calls: number }; rotated: { calls: number } }[];
}

interface BurstFigures {
  servers: ({ server: string } & Record<
    'open' | 'connecting',
    Record<'before' | 'during', { hits: number; p50: number; p999: number }>
  >)[];
}

t.test('a run ends with figures in all forms', async (t) => {
  const directory = t.testdir();
  const { code, stdout, stderr } = await runBench([
    ...SMALL,
    ...SOURCES,
    '--results',
    directory,
    '--trace',
  ]);
  t.equal(code, 0, stderr);
  t.match(stderr, /6 pods × 2, service-account: all ask at once/, 'progress');
  t.match(stdout, /token scope \(the existing agent's key up to 0\.1\.x\)/);
  t.match(readdirSync(directory).toSorted(), [
    /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.json$/,
    'report.html',
    'trace.html',
    'trace.jsonl',
  ]);
  const { config, machine, subject, scenarios } = readResults(directory);
  t.equal(config.seed, 1);
  t.equal(machine.node, process.version);
  t.same(subject, { program: 'src/main.ts', traced: true });
  const figures = scenarios.density?.figures as DensityRounds[];
  const calls = figures.map(({ variant, rounds }) => [
    variant,
    rounds.map(({ first, rotated }) => [first.calls, rotated.calls]),
  ]);
  t.same(calls, [
    ['service-account', [[2, 0]]],
    ['pod', [[6, 0]]],
    ['token', [[6, 6]]],
  ]);

  // 3 scopes × 6 pods × 2 processes × 2 waves.
  const traces = Number(/(\d+) traces of [\d,]+ spans in \S*trace\.html/.exec(stdout)?.[1]);
  t.ok(traces >= 72, `${traces} traces`);
  const page = readFileSync(join(directory, 'trace.html'), 'utf8');
  t.match(page, /Traces of a benchmark run/);
  t.match(page, /AssumeRoleForPodIdentity/, 'calls are in it');
  t.match(stdout, /traced: the figures have the cost/, 'figures are labelled');
  t.match(readFileSync(join(directory, 'report.html'), 'utf8'), /traced: the figures have/);
});

t.test('hits during a burst, of both kinds and beside the bare server', async (t) => {
  const directory = t.testdir();
  const { code, stderr } = await runBench([
    ...['--quick', '--scenario', 'burst', '--set', 'burst.seconds=2'],
    ...[...SOURCES, '--results', directory],
  ]);
  t.equal(code, 0, stderr);
  const { scenarios } = readResults(directory);
  const { servers } = (scenarios.burst as ScenarioResult).figures as BurstFigures;
  t.same(
    servers.map(({ server }) => server),
    ['broker', 'bare'],
  );
  for (const { open, connecting } of servers) {
    for (const { before, during } of [open, connecting]) {
      t.ok(before.hits > 0 && during.hits > 0);
      t.ok(during.p50 > 0 && during.p50 <= during.p999);
    }
  }
});

t.test('a run whose target answers wrongly has no figures', async (t) => {
  const directory = join(t.testdir(), 'none');
  const { code, stdout, stderr } = await runBench([
    ...SMALL,
    ...['--program', programHere('wrong-program.ts'), '--results', directory],
  ]);
  t.equal(code, 1);
  t.equal(stdout, '');
  t.match(stderr, /This run is broken, and has no results: pod \S+ of \S+ was given what nobody/);
  t.notOk(existsSync(directory));
});

t.test('what else is under way ends with a broken run', async (t) => {
  const directory = join(t.testdir(), 'none');
  const startedAt = performance.now();
  const { code, stderr } = await runBench([
    ...['--scenario', 'rotation', '--set', 'rotation.pods=4', '--set', 'rotation.seconds=3600'],
    ...['--program', programHere('pod-scope-refusing-program.ts'), '--results', directory],
  ]);
  t.equal(code, 1);
  t.match(stderr, /has no results: a pod got no credentials: 400/);
  t.ok(performance.now() - startedAt < 120_000, 'the other scopes would take an hour');
});

t.test('an interrupted run leaves nothing behind', async (t) => {
  const directory = join(t.testdir(), 'none');
  const run = startBench([
    ...['--scenario', 'rotation', '--set', 'rotation.pods=4', '--set', 'rotation.seconds=3600'],
    ...[...SOURCES, '--results', directory, '--trace'],
  ]);
  // Three brokers, and a process with their simulated EKSs.
  let started: number[] = [];
  const all = () => {
    started = childrenOf(run.pid);
    return started.length >= 4;
  };
  await until(all, 'brokers');
  run.signal('SIGINT');
  const { code, stdout } = await run.ended;
  t.equal(code, 130);
  t.equal(stdout, '');
  t.notOk(existsSync(directory), 'no half result');
  await until(() => started.every((pid) => !isRunning(pid)), 'the end of all processes');
});

t.test('a scenario that cannot be run says why', async (t) => {
  const directory = t.testdir();
  const { code, stdout, stderr } = await runBench(
    ['--scenario', 'restart', '--scenario', 'cluster', '--results', directory],
    { PATH: '/nonexistent' },
  );
  t.equal(code, 0, stderr);
  t.equal(stdout.match(/^left out: redis-server is not installed$/gm)?.length, 2);
  const page = readFileSync(join(directory, 'report.html'), 'utf8');
  t.match(page, /left out: redis-server is not installed/);
});

t.test('a wrong command line says which word', async (t) => {
  const { code, stdout, stderr } = await runBench(['--set', 'density.combinations=[]']);
  t.equal(code, 2);
  t.equal(stdout, '');
  t.equal(stderr, 'error: density.combinations must have at least one entry\n');
});

t.test('results that could not be written end a run before it begins', async (t) => {
  const folder = t.testdir({ file: 'no folder' });
  const places = [join(folder, 'file'), join(folder, 'file', 'below'), '/proc/results/below'];
  for (const place of places) {
    const { code, stdout, stderr } = await runBench([...SMALL, '--results', place]);
    t.equal(code, 2, place);
    t.equal(stdout, '');
    t.ok(stderr.startsWith(`error: --results ${place} cannot be written to: E`), stderr);
  }
});

t.test('trying out where results go leaves nothing there', async (t) => {
  const folder = t.testdir({ there: {} });
  checkCanWrite(join(folder, 'there'));
  checkCanWrite(join(folder, 'new', 'below'));
  t.same(readdirSync(folder), ['there']);
  t.same(readdirSync(join(folder, 'there')), []);
  t.throws(() => checkCanWrite(join(folder, 'new', 'too-long'.repeat(100))), {
    code: 'ENAMETOOLONG',
  });
  t.same(readdirSync(folder), ['there'], 'nor when it fails');
});

/** Processes that a process has started and that still run. */
function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

/** Whether a process is there and has not ended; a zombie has. */
function isRunning(pid: number): boolean {
  const file = `/proc/${pid}/stat`;
  return existsSync(file) && !/\) Z /.test(readFileSync(file, 'utf8'));
}
