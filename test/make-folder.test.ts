import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeFolder } from '../src/make-folder.ts';

t.test('makes a folder and those above it, for this user alone', async (t) => {
  const folder = t.testdir();
  await makeFolder(join(folder, 'a/b/c'));
  for (const made of ['a', 'a/b', 'a/b/c']) {
    t.equal(statSync(join(folder, made)).mode & 0o777, 0o700, made);
  }
});

t.test('leaves what is there as it is', async (t) => {
  const folder = t.testdir();
  mkdirSync(join(folder, 'open'), { mode: 0o755 });
  await makeFolder(join(folder, 'open'));
  t.equal(statSync(join(folder, 'open')).mode & 0o777, 0o755);
  await makeFolder('/');
});

t.test('says of which folder it was that it cannot be made', async (t) => {
  const file = join(t.testdir(), 'file');
  writeFileSync(file, '');
  await t.rejects(makeFolder(join(file, 'a/b')), { code: 'ENOTDIR' });
});

t.test(
  'ends where the system makes no folders',
  { skip: process.platform !== 'linux' && 'not Linux' },
  async (t) => {
    await t.rejects(makeFolder('/proc/pod-identity-broker/a/b'), {
      code: 'ENOENT',
      path: '/proc/pod-identity-broker',
    });
  },
);
