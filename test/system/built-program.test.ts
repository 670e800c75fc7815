import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startBroker } from '../../bench/harness/broker.ts';
import { startCluster } from '../../bench/harness/cluster.ts';
import { buildProgram } from '../support/build-program.ts';
import { keyFile } from '../support/redis-server.ts';
import { until } from '../support/until.ts';

/**
 * Has every thread write down, again and again, what it has loaded: Node.js's own modules, and
 * packages.
 */
const PRELOAD = `
  const { registerHooks } = process.getBuiltinModule('node:module');
  const { threadId } = process.getBuiltinModule('node:worker_threads');
  const { renameSync, writeFileSync } = process.getBuiltinModule('node:fs');
  const file = new URL('loaded-' + threadId, import.meta.url);
  const part = new URL(file.href + '.part');
  const packages = new Set();
  registerHooks({
    load(url, context, nextLoad) {
      const name = /.*\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url)?.[1];
      if (name !== undefined) packages.add('Package ' + name);
      return nextLoad(url, context);
    },
  });
  setInterval(() => {
    writeFileSync(part, [...process.moduleLoadList, ...packages].join('\\n'));
    renameSync(part, file);
  }, 20).unref();
`;

const folder = t.testdir({});
const program = buildProgram(folder);
writeFileSync(join(folder, 'preload.mjs'), PRELOAD);

/** Starts the program, and gives what each of its threads has loaded once it is at work. */
async function loadedBy(flags: readonly string[] = []): Promise<readonly string[][]> {
  const threads = [0, 1].map((thread) => join(folder, `loaded-${thread}`));
  for (const file of threads) rmSync(file, { force: true });
  await using cluster = await startCluster({ seed: 1 });
  await using broker = await startBroker({ program, tracing: undefined }, cluster.simulator, {
    flags,
    env: { NODE_OPTIONS: `--import=${join(folder, 'preload.mjs')}` },
  });
  return await Promise.all(
    threads.map(async (file, thread) => {
      const loaded = () => (existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []);
      // Both have a socket open by then.
      await until(
        () => loaded().includes('NativeModule net'),
        () => `thread ${thread} has loaded ${loaded()}\n${broker.process.output()}`,
      );
      // What was written before the broker was ready is not all.
      const seen = statSync(file).mtimeMs;
      await until(() => statSync(file).mtimeMs > seen, 'it is written anew');
      return loaded();
    }),
  );
}

// Imports of Node's modules would read all their exports, and so load its own fetch client and
// more on every thread (see .tools/build.mjs): it would cost memory and a slower start.
t.test('loads on no thread what it has no use for', { timeout: 60_000 }, async (t) => {
  for (const [thread, loaded] of (await loadedBy()).entries()) {
    for (const name of ['internal/deps/undici/undici', 'stream/web']) {
      t.notOk(loaded.includes(`NativeModule ${name}`), `thread ${thread}: ${name}`);
    }
    for (const name of ['ioredis', 'yaml', '@opentelemetry/sdk-trace']) {
      t.notOk(loaded.includes(`Package ${name}`), `thread ${thread}: ${name}`);
    }
  }
});

t.test('loads the client of Redis where it has a Redis', { timeout: 60_000 }, async (t) => {
  const flags = ['--redis-url=redis://127.0.0.1:1', `--redis-key-file=${keyFile(t)}`];
  const [main, worker] = await loadedBy(flags);
  t.ok(main?.includes('Package ioredis'), 'or the test above could not fail');
  t.notOk(worker?.includes('Package ioredis'), 'on the main thread alone');
});
