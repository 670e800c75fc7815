import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readKeyFile, readSecretFile } from '../../src/session-store/key-file.ts';

const base64 = (bytes = 32) => randomBytes(bytes).toString('base64');

t.test('one key, or two', async (t) => {
  const file = join(t.testdir(), 'key');
  const [first, second] = [base64(), base64()];
  for (const content of [first, `${first}\n`, `\n  ${first}\r\n`]) {
    writeFileSync(file, content);
    t.strictSame(await readKeyFile(file), [Buffer.from(first, 'base64')]);
  }
  writeFileSync(file, `${first}\n${second}\n`);
  t.equal((await readKeyFile(file)).length, 2);
});

t.test('what is wrong is said, and not quoted', async (t) => {
  const file = join(t.testdir(), 'key');
  const key = base64();
  for (const [content, said] of [
    ['', /must hold one key or two/],
    [`${key}\n${base64()}\n${base64()}`, /must hold one key or two/],
    [`${key}\n${key}`, /the same key twice/],
    [base64(31), /key 1: must be 32 bytes/],
    [`${key}\n${base64(33)}`, /key 2: must be 32 bytes/],
    [`${key.slice(0, 20)}!${key.slice(20)}`, /not base64/],
    [Buffer.alloc(32, 7).toString('base64'), /not random/],
  ] as const) {
    writeFileSync(file, content);
    const error: Error = await readKeyFile(file).then(
      () => t.fail('it was read') as never,
      (failure: Error) => failure,
    );
    t.match(error, { name: 'KeyFileError', code: 'ERR_REDIS_KEY_FILE', message: said });
    t.notOk(error.message.includes(key.slice(0, 10)), 'nothing of the key');
  }
  await t.rejects(readKeyFile(join(t.testdir(), 'none')), /cannot be read: ENOENT/);
});

t.test('a password is the line of its file', async (t) => {
  const file = join(t.testdir(), 'password');
  writeFileSync(file, ' with blanks \r\n');
  t.equal(await readSecretFile(file, '--redis-password-file'), ' with blanks ');
  writeFileSync(file, '\n');
  await t.rejects(
    readSecretFile(file, '--redis-password-file'),
    /--redis-password-file .* is empty/,
  );
});
