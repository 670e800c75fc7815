import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { writeTracePage } from '../../src/traces/page.ts';
import { runProgram } from '../support/broker-process.ts';
import { startTracedBroker } from '../support/traced-broker.ts';

t.test('demo --trace', async (t) => {
  const folder = t.testdir({});
  const { code, stdout, stderr } = await runProgram(
    ['demo', '--pods=4', '--service-accounts=2', `--trace=${folder}/page.html`],
    { env: { TMPDIR: folder } },
  );
  t.strictSame({ code, stderr }, { code: 0, stderr: '' });
  t.match(stdout, '4 pods, 8 credential requests, 2 calls to EKS Auth');
  const page = readFileSync(`${folder}/page.html`, 'utf8');
  for (const kind of ['hit', 'joined', 'miss', 'stale', 'renewal', 'refused', 'failed']) {
    t.match(page, `<header><b>${kind}</b>`, kind);
  }
  t.notMatch(page, /https?:\/\/|<script|src=/, 'stands alone');
  const shown = await runProgram(['traces', `${folder}/page.jsonl`]);
  t.strictSame({ code: shown.code, stderr: shown.stderr }, { code: 0, stderr: '' });
  t.match(shown.stdout, /^\d+ traces, \d+ spans\n/);
  t.match(shown.stdout, 'One of kind renewal');
});

t.test('demo --trace to where nothing can be written', async (t) => {
  const wrong: [number, string, RegExp][] = [
    [1, '/no/such/folder/page.html', /^error: --trace: .*\/no\/such\/folder/],
    [2, 'page.txt', /^error: .*--trace.*\.html/],
  ];
  for (const [expected, file, complaint] of wrong) {
    const { code, stdout, stderr } = await runProgram(['demo', `--trace=${file}`]);
    t.strictSame({ code, stdout }, { code: expected, stdout: '' });
    t.match(stderr, complaint);
  }
});

t.test('the page in a browser', { skip: needsChromium() }, async (t) => {
  const { broker, token, spans, file } = await startTracedBroker(t);
  const jwt = token('cart');
  await Promise.all([broker.get(jwt), broker.get(token('cart'))]);
  await spans();
  const folder = t.testdir({});
  await writeTracePage(file, `${folder}/page.html`, { title: 'Traces' });
  const flags =
    '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync --disable-background-networking --disable-component-update --enable-logging=stderr';
  const { stdout, stderr, status } = spawnSync(
    'chromium',
    [
      ...flags.split(' '),
      `--user-data-dir=${folder}/profile`,
      '--dump-dom',
      `file://${folder}/page.html`,
    ],
    { encoding: 'utf8', timeout: 60_000 },
  );
  t.equal(status, 0);
  t.match(stdout, 'EKSAuth.AssumeRoleForPodIdentity');
  t.notMatch(stderr, /CONSOLE/, 'no complaint');
});

function needsChromium(): string | false {
  const found = spawnSync('chromium', ['--version'], { stdio: 'ignore' }).status === 0;
  if (found || process.env.CI === 'true') return false;
  return 'Chromium is not installed';
}
