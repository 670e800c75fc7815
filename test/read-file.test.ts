import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { READ_TIMEOUT, readTextFile, useFile } from '../src/read-file.ts';
import { ManualClock } from './support/manual-clock.ts';

/** Pipes that nobody writes to: like files on a volume that hangs. */
function hanging(folder: string, ...names: string[]): string[] {
  const files = names.map((name) => join(folder, name));
  execFileSync('mkfifo', files);
  return files;
}

t.test('the whole of a file, as it is now', async (t) => {
  // Cut into pieces in the middle of a character.
  const text = `a${'é'.repeat(40_000)}`;
  const file = join(t.testdir({ file: text, empty: '' }), 'file');
  t.equal(await readTextFile(file), text);
  await writeFile(file, 'other');
  t.equal(await readTextFile(file), 'other');
  t.equal(await readTextFile(join(t.testdirName, 'empty')), '');
  await t.rejects(readTextFile(join(t.testdirName, 'missing')), { code: 'ENOENT' });
  t.match(await readTextFile('/proc/self/stat'), /^\d+ /, 'which says that it has no bytes');
});

t.test('a file that is too large, or has no end', async (t) => {
  const file = join(t.testdir({ file: 'a'.repeat(2_048) }), 'file');
  t.equal((await readTextFile(file, { maxBytes: 2_048 })).length, 2_048);
  await writeFile(file, 'a'.repeat(2_049));
  await t.rejects(readTextFile(file, { maxBytes: 2_048 }), {
    code: 'ERR_FILE_READ',
    message: 'more than 2 KiB',
  });
  await t.rejects(readTextFile('/dev/zero'), { message: 'more than 1024 KiB' });
});

t.test('files that hang keep two threads at most, and no names from being looked up', async (t) => {
  const clock = new ManualClock();
  const folder = t.testdir({ other: 'read' });
  const files = hanging(folder, 'a', 'b', 'c', 'd', 'e');
  // Each more often than there are threads.
  for (let time = 0; time < 5; time += 1) {
    const failing = files.map((file) =>
      t.rejects(readTextFile(file, { clock }), { message: `not within ${READ_TIMEOUT} ms` }),
    );
    await clock.advance(READ_TIMEOUT - 1);
    t.equal(clock.pending, files.length, 'they are waited for');
    await clock.advance(1);
    await Promise.all(failing);
  }
  t.equal(clock.pending, 0);
  t.equal(await readFile(join(folder, 'other'), 'utf8'), 'read', 'threads are left');

  // In the order in which they were asked for; each is let go of by what it is written.
  for (const file of files) await writeFile(file, `of ${file}`);
  t.equal(await readTextFile(join(folder, 'other')), 'read', 'there are turns again');
  t.equal(await useFile(async () => 'used'), 'used');
});

t.test('whoever asks during a read gets what it brings', async (t) => {
  const [file = ''] = hanging(t.testdir({}), 'file');
  const reads = Promise.all([readTextFile(file), readTextFile(file), readTextFile(file)]);
  await writeFile(file, 'once');
  t.strictSame(await reads, ['once', 'once', 'once']);
});

t.test('a use that fails gives its turn back', async (t) => {
  for (let time = 0; time < 5; time += 1) {
    await t.rejects(
      useFile(() => Promise.reject(new Error('no'))),
      { message: 'no' },
    );
  }
  t.equal(await useFile(async () => 'used'), 'used');
});
