import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** A certificate authority that lives as long as a test, in files. */
export interface Authority {
  /** Path of the CA's certificate (PEM). */
  readonly path: string;
  /** The CA's certificate (PEM). */
  readonly pem: string;
  /** Makes a key and a certificate of this CA, for 127.0.0.1 and the host named. */
  issue(host: string): { readonly cert: string; readonly key: string };
}

/** Makes a CA with openssl. */
export function createAuthority(t: Test, name = 'ca'): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'authority-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = (of: string, extension: string) => join(folder, `${of}.${extension}`);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...curve,
    '-days',
    '1',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    file(name, 'key'),
    '-out',
    file(name, 'pem'),
    '-addext',
    'basicConstraints=critical,CA:true',
  );
  return {
    path: file(name, 'pem'),
    pem: readFileSync(file(name, 'pem'), 'utf8'),
    issue(leaf) {
      writeFileSync(file(leaf, 'ext'), `subjectAltName=IP:127.0.0.1,DNS:${leaf}\n`);
      openssl(
        'req',
        ...curve,
        '-subj',
        `/CN=${leaf}`,
        '-keyout',
        file(leaf, 'key'),
        '-out',
        file(leaf, 'csr'),
      );
      openssl(
        'x509',
        '-req',
        '-in',
        file(leaf, 'csr'),
        '-days',
        '1',
        '-CA',
        file(name, 'pem'),
        '-CAkey',
        file(name, 'key'),
        '-CAcreateserial',
        '-extfile',
        file(leaf, 'ext'),
        '-out',
        file(leaf, 'pem'),
      );
      return {
        cert: readFileSync(file(leaf, 'pem'), 'utf8'),
        key: readFileSync(file(leaf, 'key'), 'utf8'),
      };
    },
  };
}
