import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import t from 'tap';
import { readCaBundle } from '../../src/http/ca-bundle.ts';
import { READ_TIMEOUT } from '../../src/read-file.ts';
import { createAuthority } from '../support/certificates.ts';
import { ManualClock } from '../support/manual-clock.ts';

const bundle = (path: string) => readCaBundle({ AWS_CA_BUNDLE: path });

t.test('the certificates of the file', async (t) => {
  const { path, pem } = createAuthority(t);
  t.equal(await bundle(path), pem);
  t.equal(await bundle(''), undefined);
  t.equal(await readCaBundle({}), undefined);
});

t.test('a bundle that cannot be used is named', async (t) => {
  const folder = t.testdir({ empty: '', 'bad.pem': '-----BEGIN CERTIFICATE-----\nnonsense\n' });
  await t.rejects(bundle(`${folder}/missing`), {
    code: 'ERR_CA_BUNDLE',
    message: /^AWS_CA_BUNDLE: cannot read .*missing/,
  });
  await t.rejects(bundle(`${folder}/empty`), {
    message: /^AWS_CA_BUNDLE: no certificate in .*empty/,
  });
  await t.rejects(bundle(`${folder}/bad.pem`), {
    message: /^AWS_CA_BUNDLE: no certificate in .*bad/,
  });
});

t.test('a bundle that hangs is given up, and holds nothing up meanwhile', async (t) => {
  const file = `${t.testdir({})}/ca.pem`;
  execFileSync('mkfifo', [file]);
  const clock = new ManualClock();
  const reading = t.rejects(readCaBundle({ AWS_CA_BUNDLE: file }, { clock }), {
    message: `AWS_CA_BUNDLE: cannot read ${file}`,
  });
  await clock.advance(READ_TIMEOUT);
  await reading;
  // Lets go of the thread that reads.
  await writeFile(file, '');
});
