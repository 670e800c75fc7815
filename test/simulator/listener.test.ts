import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ManualClock } from '../support/manual-clock.ts';
import { simulatorFor } from './caller.ts';

t.test('serves HTTPS with a certificate of the caller’s', async (t) => {
  const directory = t.testdir();
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  try {
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
        ...['-days', '1', '-subj', '/CN=simulated', '-addext', 'subjectAltName=IP:127.0.0.1'],
        ...['-keyout', key, '-out', cert],
      ],
      { stdio: 'ignore' },
    );
  } catch {
    t.pass('HTTPS', { skip: 'openssl is not installed' });
    return;
  }
  const ca = readFileSync(cert, 'utf8');
  const simulator = await simulatorFor(t, { tls: { key: readFileSync(key, 'utf8'), cert: ca } });
  t.match(simulator.issuer, /^https:\/\/127\.0\.0\.1:\d+\/id\//);
  const status = await new Promise((resolve, reject) => {
    get(`${simulator.issuer}/keys`, { ca, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on('error', reject);
  });
  t.equal(status, 200);
});

const loopback = Object.values(networkInterfaces())
  .flat()
  .some((address) => address?.address === '::1');

t.test('IPv6', { skip: loopback ? false : 'this machine has no ::1' }, async (t) => {
  const simulator = await simulatorFor(t, { host: '::1' });
  t.match(simulator.url, /^http:\/\/\[::1\]:\d+$/);
  t.equal((await fetch(`${simulator.issuer}/keys`)).status, 200);
});

t.test('a taken port is an error, and any address is reached by loopback', async (t) => {
  const simulator = await simulatorFor(t, { host: '0.0.0.0' });
  t.match(simulator.url, /^http:\/\/127\.0\.0\.1:/);
  const port = Number(new URL(simulator.url).port);
  await t.rejects(simulatorFor(t, { host: '0.0.0.0', port }), { code: 'EADDRINUSE' });
});

t.test('closing during an outage keeps it closed', async (t) => {
  const clock = new ManualClock(Date.now());
  const simulator = await simulatorFor(t, { clock });
  await simulator.outage(1_000);
  await simulator.close();
  t.equal(clock.pending, 0);
  await clock.advance(1_000);
  await t.rejects(fetch(simulator.url));
});
