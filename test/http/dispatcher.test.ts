import t from 'tap';
import { createDispatcher, type DispatcherOptions } from '../../src/http/dispatcher.ts';
import { exchange } from '../../src/http/exchange.ts';
import { startServer } from '../eks-auth/eks-auth-server.ts';
import { createAuthority } from '../support/certificates.ts';
import { startProxy } from '../support/connect-proxy.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';

type T = Parameters<typeof startServer>[0];
const LIMITS = { timeout: 10_000, maxBytes: 65_536 };

function connections(t: T, options: DispatcherOptions) {
  const dispatcher = createDispatcher(options);
  t.teardown(() => dispatcher.destroy());
  return dispatcher;
}

const post = (origin: string) => ({ origin, path: '/', method: 'POST', body: '{}' });

t.test('given certificates take the place of the usual roots', async (t) => {
  const authority = createAuthority(t);
  const server = await startServer(t, authority.issue('server'));
  const trusting = connections(t, { ca: authority.pem });
  t.match(await exchange(trusting, post(server.url), LIMITS), { status: 200 });

  await t.rejects(exchange(connections(t, {}), post(server.url), LIMITS), {
    code: /UNABLE_TO_(VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT_LOCALLY)|SELF_SIGNED_CERT_IN_CHAIN/,
  });
});

t.test('the name in the certificate must be the host', async (t) => {
  const authority = createAuthority(t);
  const server = await startServer(t, authority.issue('eks-auth.test'));
  const origin = `https://localhost:${server.port}`;
  await t.rejects(exchange(connections(t, { ca: authority.pem }), post(origin), LIMITS), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  });
});

t.test('a client certificate is presented to a server that asks', async (t) => {
  const authority = createAuthority(t);
  const server = await startServer(t, {
    ...authority.issue('server'),
    ca: authority.pem,
    requestCert: true,
    rejectUnauthorized: true,
  });
  const clientCertificate = authority.issue('broker');
  const trusting = { ca: authority.pem };
  const known = connections(t, { ...trusting, clientCertificate });
  t.match(await exchange(known, post(server.url), LIMITS), { status: 200 });
  await t.rejects(exchange(connections(t, trusting), post(server.url), LIMITS));
});

// Loopback is never reached by proxy, so these ask for a host that only the proxy knows.
const ORIGIN = 'https://eks-auth.test';

async function behindProxy(t: T) {
  const authority = createAuthority(t);
  const server = await startServer(t, authority.issue('eks-auth.test'));
  const proxy = await startProxy(t, server.port);
  return { server, proxy, ca: authority.pem };
}

t.test('https goes through a tunnel of the proxy', async (t) => {
  const { server, proxy, ca } = await behindProxy(t);
  const HTTPS_PROXY = proxy.url.replace('//', '//user:p%40ss@');
  const dispatcher = connections(t, { ca, env: { HTTPS_PROXY } });
  t.match(await exchange(dispatcher, post(ORIGIN), LIMITS), { status: 200 });
  await settle();
  t.match(await exchange(dispatcher, post(ORIGIN), LIMITS), { status: 200 });
  t.strictSame(proxy.asked, ['eks-auth.test:443'], 'one tunnel, kept');
  t.equal(proxy.authorization, `Basic ${Buffer.from('user:p@ss').toString('base64')}`);
  t.match(server.received, [{ connection: 1, headers: { host: 'eks-auth.test' } }, {}]);
  t.notOk(server.received.some(({ headers }) => 'proxy-authorization' in headers));
});

t.test('a kept tunnel that was closed is replaced', async (t) => {
  const { server, proxy, ca } = await behindProxy(t);
  const dispatcher = connections(t, { ca, env: { HTTPS_PROXY: proxy.url } });
  await exchange(dispatcher, post(ORIGIN), LIMITS);
  await settle();
  const { respond } = server;
  server.respond = (response) => {
    server.respond = respond;
    response.socket?.destroy();
  };
  t.match(await exchange(dispatcher, post(ORIGIN), LIMITS), { status: 200 });
  t.equal(proxy.asked.length, 2);
  t.equal(server.received.length, 3);
});

t.test('NO_PROXY is reached directly', async (t) => {
  const { server, proxy, ca } = await behindProxy(t);
  const env = { HTTPS_PROXY: proxy.url, NO_PROXY: 'eks-auth.test' };
  await t.rejects(exchange(connections(t, { ca, env }), post(ORIGIN), LIMITS), {
    code: /ENOTFOUND|EAI_AGAIN/,
  });
  const loopback = connections(t, { ca, env: { HTTPS_PROXY: proxy.url } });
  t.match(await exchange(loopback, post(server.url), LIMITS), { status: 200 });
  t.equal(proxy.asked.length, 0);
});

t.test('http is forwarded', async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server.port);
  const dispatcher = connections(t, { env: { HTTP_PROXY: proxy.url } });
  t.match(await exchange(dispatcher, post('http://eks-auth.test'), LIMITS), { status: 200 });
  t.strictSame(proxy.asked, ['http://eks-auth.test/']);
});

t.test('a proxy that refuses, and one that says nothing', async (t) => {
  const { proxy, ca } = await behindProxy(t);
  const dispatcher = connections(t, { ca, env: { HTTPS_PROXY: proxy.url } });
  for (const mode of [407, 503] as const) {
    proxy.mode = mode;
    await t.rejects(exchange(dispatcher, post(ORIGIN), LIMITS), {
      code: 'UND_ERR_ABORTED',
      message: new RegExp(String(mode)),
    });
  }
  proxy.mode = 'silence';
  const clock = new ManualClock();
  const asked = proxy.asked.length;
  const silent = t.rejects(exchange(dispatcher, post(ORIGIN), { ...LIMITS, clock }), {
    name: 'TimeoutError',
  });
  while (proxy.asked.length === asked) await settle();
  await clock.advance(10_000);
  await silent;

  proxy.mode = 'tunnel';
  t.match(await exchange(dispatcher, post(ORIGIN), LIMITS), { status: 200 }, 'and recovers');
});
