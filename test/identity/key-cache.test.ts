import { chmod, chown, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import t from 'tap';
import { type CachedKeys, KeyCache } from '../../src/identity/key-cache.ts';
import { KeyRing, UNCONFIRMED_LIFETIME } from '../../src/identity/key-ring.ts';
import { capturedLog } from '../support/captured-log.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';
import { until } from '../support/until.ts';
import { signingKey } from '../tokens/signed-tokens.ts';
import { ScriptedSource } from './scripted-source.ts';

const ISSUER = 'https://issuer.example';
const key = signingKey('ES256', 'the-key');
const kept: CachedKeys = {
  clusterName: 'prod',
  issuer: ISSUER,
  jwks: { keys: [key.jwk] },
  confirmedAt: 1_000,
};

/** A folder of nobody else, and a file in it. */
async function place(t: Test): Promise<{ folder: string; file: string }> {
  const folder = join(t.testdir(), 'cache');
  await mkdir(folder, { mode: 0o700 });
  return { folder, file: join(folder, 'keys.json') };
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

t.test('what is written is read', async (t) => {
  const { folder, file } = await place(t);
  const cache = new KeyCache(file);
  t.equal(await cache.read('prod'), undefined, 'nothing is kept');
  await cache.write(kept);
  t.same(await cache.read('prod'), kept);
  t.equal(await modeOf(file), 0o600);
  t.equal(await cache.read('other'), undefined, 'of another cluster');
  await cache.write({ ...kept, confirmedAt: 2_000 });
  t.equal((await cache.read('prod'))?.confirmedAt, 2_000);
  t.strictSame(await readdir(folder), ['keys.json'], 'nothing else is left behind');
});

t.test('the folder is made, for nobody else', async (t) => {
  const file = join(t.testdir(), 'a', 'b', 'keys.json');
  const cache = new KeyCache(file);
  t.equal(await cache.read('prod'), undefined);
  await cache.write(kept);
  t.equal(await modeOf(join(file, '..')), 0o700);
  t.same(await cache.read('prod'), kept);
});

t.test('what others may touch is not used', async (t) => {
  const { folder, file } = await place(t);
  const cache = new KeyCache(file);
  await cache.write(kept);
  for (const mode of [0o644, 0o660, 0o602, 0o601, 0o700]) {
    await chmod(file, mode);
    const refused = mode === 0o700 ? /open to others|mode 700/ : /open to others/;
    await t.rejects(
      cache.read('prod'),
      { name: 'KeyCacheError', message: refused },
      mode.toString(8),
    );
  }
  for (const mode of [0o600, 0o400]) {
    await chmod(file, mode);
    t.same(await cache.read('prod'), kept, mode.toString(8));
  }
  await chmod(file, 0o600);
  for (const mode of [0o755, 0o770, 0o777, 0o701]) {
    await chmod(folder, mode);
    const expected = { name: 'KeyCacheError', message: /the folder .* is open to others/ };
    await t.rejects(cache.read('prod'), expected, mode.toString(8));
    await t.rejects(cache.write(kept), expected, `${mode.toString(8)}, for writing`);
  }
  await chmod(folder, 0o700);
  t.same(await cache.read('prod'), kept);
});

const unprivileged = process.getuid?.() !== 0 && 'only root can give files away';
t.test("what is another user's is not used", { skip: unprivileged }, async (t) => {
  const { folder, file } = await place(t);
  const cache = new KeyCache(file);
  await cache.write(kept);
  await chown(file, 65_534, 65_534);
  await t.rejects(cache.read('prod'), { message: /the file .* is not this user's/ });
  await cache.write(kept);
  t.same(await cache.read('prod'), kept, 'replaced, it is');
  await chown(folder, 65_534, 65_534);
  await t.rejects(cache.read('prod'), { message: /the folder .* is not this user's/ });
  await chown(folder, 0, 0);
});

t.test('what is no key cache is not used', async (t) => {
  const { file } = await place(t);
  const cache = new KeyCache(file);
  const { clusterName, issuer, jwks, confirmedAt } = kept;
  for (const [content, reason] of [
    ['', /not JSON/],
    ['{"clusterName":"prod"', /not JSON/],
    ['null', /not a key cache/],
    ['[]', /not a key cache/],
    [{ issuer, jwks, confirmedAt }, /not a key cache/],
    [{ clusterName, jwks, confirmedAt }, /not a key cache/],
    [{ clusterName, issuer, jwks }, /not a key cache/],
    [{ clusterName, issuer, jwks, confirmedAt: 'now' }, /not a key cache/],
    [{ clusterName, issuer, confirmedAt }, /without keys/],
    [{ ...kept, jwks: { keys: [] } }, /without a signing key/],
    [{ ...kept, jwks: { keys: [{ kty: 'oct', k: 'AAAA' }] } }, /without a signing key/],
    [' '.repeat(512 * 1024 + 1), /too large/],
  ] as const) {
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content), {
      mode: 0o600,
    });
    await t.rejects(cache.read('prod'), { message: reason }, String(reason));
  }
});

t.test('a write that fails leaves what was there', async (t) => {
  const { folder, file } = await place(t);
  await mkdir(file);
  await writeFile(join(file, 'something'), '');
  await t.rejects(new KeyCache(file).write(kept));
  t.strictSame(await readdir(folder), ['keys.json']);
});

t.test('a link that somebody placed is replaced, not followed', async (t) => {
  const { folder, file } = await place(t);
  const target = join(folder, 'target');
  await writeFile(target, 'precious', { mode: 0o600 });
  await symlink(target, file);
  await new KeyCache(file).write(kept);
  t.equal(await readFile(target, 'utf8'), 'precious');
  t.same(await new KeyCache(file).read('prod'), kept);
});

/** A ring of the cluster `prod` that keeps its keys in `file`. */
function ring(file: string, clock: ManualClock, source: ScriptedSource, clusterName = 'prod') {
  const { log, lines } = capturedLog();
  const keyRing = new KeyRing({
    clock,
    log,
    sourcesOf: () => [source],
    onChange: () => undefined,
    patience: 1_900,
    cache: new KeyCache(file),
    clusterName,
  });
  return { keyRing, lines };
}

t.test('over a restart, keys serve while their source is away', async (t) => {
  const { file } = await place(t);
  const clock = new ManualClock();
  const source = new ScriptedSource('source', [key.jwk]);
  const first = ring(file, clock, source);
  await first.keyRing.useIssuer(ISSUER);
  await until(async () => (await new KeyCache(file).read('prod')) !== undefined, 'kept');
  first.keyRing.stop();

  source.keys = undefined;
  await clock.advance(UNCONFIRMED_LIFETIME - 1_000);
  const second = ring(file, clock, source);
  t.equal(await second.keyRing.recall(), ISSUER);
  t.equal(second.keyRing.keys, undefined, 'not before the source was asked');
  t.equal(await second.keyRing.useIssuer(ISSUER), true);
  t.strictSame(
    second.keyRing.keys?.jwks.keys.map(({ kid }) => kid),
    ['the-key'],
  );
  t.equal(second.keyRing.proven, false, 'they have proven nothing in this run');
  t.equal(second.keyRing.outdated, true);
  await clock.advance(1_001);
  t.equal(second.keyRing.keys, undefined, 'a day counts from when they were confirmed');
  second.keyRing.stop();

  const third = ring(file, clock, source);
  t.equal(await third.keyRing.recall(), undefined, 'older ones are no help');
  third.keyRing.stop();
});

t.test('keys that a source gives go before those that were kept', async (t) => {
  const { file } = await place(t);
  const clock = new ManualClock();
  await new KeyCache(file).write({ ...kept, confirmedAt: clock.now() });
  const source = new ScriptedSource('source', [signingKey('ES256', 'newer').jwk]);
  const { keyRing } = ring(file, clock, source);
  await keyRing.recall();
  await keyRing.useIssuer(ISSUER);
  t.strictSame(
    keyRing.keys?.jwks.keys.map(({ kid }) => kid),
    ['newer'],
  );
  await until(
    async () => (await new KeyCache(file).read('prod'))?.jwks.keys[0]?.kid === 'newer',
    'kept',
  );
  keyRing.stop();
});

t.test('kept keys of another issuer, cluster or time are not used', async (t) => {
  for (const [name, change, clusterName] of [
    ['another issuer', { issuer: 'https://other.example' }, 'prod'],
    ['another cluster', {}, 'other'],
    ['tomorrow', { confirmedAt: new ManualClock().now() + 86_400_000 }, 'prod'],
    ['the day before yesterday', { confirmedAt: new ManualClock().now() - 2 * 86_400_000 }, 'prod'],
  ] as const) {
    await t.test(name, async (t) => {
      const { file } = await place(t);
      const clock = new ManualClock();
      await new KeyCache(file).write({ ...kept, confirmedAt: clock.now(), ...change });
      const { keyRing } = ring(file, clock, new ScriptedSource('source'), clusterName);
      await keyRing.recall();
      await keyRing.useIssuer(ISSUER);
      t.equal(keyRing.keys, undefined);
      keyRing.stop();
    });
  }
});

t.test('a cache that cannot be used is said, and done without', async (t) => {
  const { folder, file } = await place(t);
  const clock = new ManualClock();
  await new KeyCache(file).write({ ...kept, confirmedAt: clock.now() });
  await chmod(folder, 0o755);
  const { keyRing, lines } = ring(file, clock, new ScriptedSource('source', [key.jwk]));
  t.equal(await keyRing.recall(), undefined);
  await keyRing.useIssuer(ISSUER);
  t.ok(keyRing.keys);
  await until(() => lines.some(({ msg }) => msg === 'keys cannot be kept'), 'it is said');
  t.match(
    lines.filter(({ level }) => level === 'warn').map(({ msg }) => msg),
    ['kept keys are not used', 'keys cannot be kept'],
  );
  keyRing.stop();
  await settle();
});

t.test('a cache on a volume that hangs: it is done without', async (t) => {
  const { log, lines } = capturedLog();
  const clock = new ManualClock();
  const source = new ScriptedSource('source', [key.jwk]);
  const writes: CachedKeys[] = [];
  const hang = Promise.withResolvers<void>();
  const keyRing = new KeyRing({
    ...{ clock, log, clusterName: 'prod', patience: 1_900 },
    sourcesOf: () => [source],
    onChange: () => undefined,
    cache: {
      read: () => new Promise(() => undefined),
      write: (keys) => {
        writes.push(keys);
        return hang.promise;
      },
    },
  });
  const recalled = keyRing.recall();
  await clock.advance(2_000);
  t.equal(await recalled, undefined);
  t.match(lines, [{ msg: 'kept keys are not used', reason: /not read within/ }]);
  await keyRing.useIssuer(ISSUER);
  t.ok(keyRing.keys, 'keys come from their source');
  await keyRing.fetch();
  source.keys = [signingKey('ES256', 'new-key').jwk];
  await keyRing.fetch();
  t.equal(writes.length, 1, 'one thread is lost to it, and no more');
  hang.resolve();
  await until(() => writes.length === 2, 'it is written to again');
  t.match(writes[1], { jwks: { keys: [{ kid: 'new-key' }] } }, 'what is the latest by then');
  await settle();
  t.equal(writes.length, 2);
  keyRing.stop();
});
