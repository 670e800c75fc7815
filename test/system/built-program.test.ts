import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { startBroker } from '../../bench/harness/broker.ts';
import { startCluster } from '../../bench/harness/cluster.ts';
import { until } from '../support/until.ts';

const PACKAGE = fileURLToPath(new URL('../../package.json', import.meta.url));
const BUILD = fileURLToPath(new URL('../../.tools/build.mjs', import.meta.url));

/** Has every thread write down, again and again, what it has loaded of Node.js's own modules. */
const PRELOAD = `
  const { threadId } = process.getBuiltinModule('node:worker_threads');
  const { renameSync, writeFileSync } = process.getBuiltinModule('node:fs');
  const file = new URL('loaded-' + threadId, import.meta.url);
  const part = new URL(file.href + '.part');
  setInterval(() => {
    writeFileSync(part, process.moduleLoadList.join('\\n'));
    renameSync(part, file);
  }, 20).unref();
`;

// Imports of Node's modules would read all their exports, and so load its own fetch client and
// more on every thread (see .tools/build.mjs): it would cost memory and a slower start.
t.test('loads on no thread what it has no use for', { timeout: 60_000 }, async (t) => {
  const folder = t.testdir({ 'package.json': t.fixture('symlink', PACKAGE) });
  const program = join(folder, 'dist');
  execFileSync(process.execPath, [BUILD, program]);
  writeFileSync(join(folder, 'preload.mjs'), PRELOAD);
  await using cluster = await startCluster({ seed: 1 });
  await using broker = await startBroker(
    { program: join(program, 'main.js'), tracing: undefined },
    cluster.simulator,
    { env: { NODE_OPTIONS: `--import=${join(folder, 'preload.mjs')}` } },
  );
  for (const thread of [0, 1]) {
    const file = join(folder, `loaded-${thread}`);
    const loaded = () => (existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []);
    // Both have a socket open by then.
    await until(
      async () => loaded().includes('NativeModule net'),
      () => `thread ${thread} has loaded ${loaded()}\n${broker.process.output()}`,
    );
    for (const name of ['internal/deps/undici/undici', 'stream/web']) {
      t.notOk(loaded().includes(`NativeModule ${name}`), `thread ${thread}: ${name}`);
    }
  }
});
