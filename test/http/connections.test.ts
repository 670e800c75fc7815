import t from 'tap';
import { Connections } from '../../src/http/connections.ts';
import { exchange } from '../../src/http/exchange.ts';
import { startServer } from '../eks-auth/eks-auth-server.ts';
import { createAuthority } from '../support/certificates.ts';

const LIMITS = { timeout: 10_000, maxBytes: 65_536 };

t.test('connections are kept by whom they trust and what they present', async (t) => {
  const connections = new Connections({});
  t.teardown(() => connections.close());
  const { pem: ca } = createAuthority(t, 'one');
  const usual = connections.to();
  const own = connections.to({ ca });
  t.not(own, usual);
  t.equal(connections.to(), usual);
  t.equal(connections.to({ ca }), own, 'the same text, read anew');
  const { cert, key } = createAuthority(t, 'clients').issue('broker');
  const presenting = connections.to({ ca, clientCertificate: { cert, key } });
  t.not(presenting, own);
  t.equal(connections.to({ ca, clientCertificate: { cert, key } }), presenting);
  t.equal(connections.to(), usual, 'what trusts the usual CAs stays');
});

t.test('a new CA counts from the next request on; one under way ends as it began', async (t) => {
  const [old, fresh] = [createAuthority(t, 'old'), createAuthority(t, 'fresh')];
  const server = await startServer(t, old.issue('server'));
  const connections = new Connections({});
  t.teardown(() => connections.close());
  const get = (ca: string) =>
    exchange(connections.to({ ca }), { origin: server.url, path: '/', method: 'GET' }, LIMITS);
  const arrived = Promise.withResolvers<() => void>();
  server.respond = (response) => arrived.resolve(() => response.end('late'));
  const underWay = get(old.pem);
  const finish = await arrived.promise;
  await t.rejects(get(fresh.pem), { code: /CERT|SIGNATURE/ });
  finish();
  t.equal((await underWay).body.toString(), 'late');
});
