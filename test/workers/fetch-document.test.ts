import t from 'tap';
import { createAuthority } from '../support/certificates.ts';
import {
  document,
  documentServer,
  endless,
  type Handler,
  halfABody,
  silence,
} from './document-server.ts';
import { startPool } from './worker-pool.ts';

const TIMEOUT = 5_000;

t.test('a JSON document', async (t) => {
  const [pool, server] = [await startPool(t), await documentServer(t)];
  const fetch = (path: string) => pool.fetchDocument({ url: server.url + path, timeout: TIMEOUT });
  for (const value of [{ keys: [] }, [], 'text', 0, null]) {
    server.documents.set('/document', JSON.stringify(value));
    t.strictSame(await fetch('/document'), { document: value });
  }
  server.documents.set('/document?x=1&y=%20', { query: true });
  t.strictSame(await fetch('/document?x=1&y=%20'), { document: { query: true } });
  t.equal(server.requests.at(-1)?.authorization, undefined);

  t.strictSame(await fetch('/missing'), { failure: 'answered 404' });
  const largest = document(256 * 1024);
  t.equal(largest.length, 256 * 1024);
  server.documents.set('/largest', largest);
  t.ok((await fetch('/largest')).document, 'as large as may be');
  server.documents.set('/larger', `${largest} `);
  t.match(await fetch('/larger'), { failure: /more than 256 KiB/ });
});

t.test('what is no document', async (t) => {
  const [pool, server] = [await startPool(t), await documentServer(t)];
  const other = await documentServer(t);
  other.documents.set('/keys', { keys: ['from elsewhere'] });
  const redirect =
    (status: number): Handler =>
    (_request, response) =>
      void response.writeHead(status, { Location: `${other.url}/keys` }).end('{"keys":[]}');
  const status =
    (code: number): Handler =>
    (_request, response) =>
      void response.writeHead(code).end('{"keys":["body-of-an-error"]}');
  for (const [name, answer, failure] of [
    ['garbage', '<html>quoted nowhere</html>', /not JSON/],
    ['nothing', '', /not JSON/],
    ['half a document', '{"keys":[', /not JSON/],
    ['half a body', halfABody, /./],
    ['an endless body', endless, /more than 256 KiB/],
    ['a redirect', redirect(302), /answered 302/],
    ['a permanent redirect', redirect(308), /answered 308/],
    ['204', status(204), /answered 204/],
    ['401', status(401), /answered 401/],
    ['500', status(500), /answered 500/],
    ['a reset', ((request) => request.socket.resetAndDestroy()) as Handler, /./],
    ['no HTTP', ((request) => void request.socket.end('quoted nowhere\r\n\r\n')) as Handler, /./],
    [
      'a lie about its length',
      ((_request, response) =>
        void response.writeHead(200, { 'Content-Length': '99999999' }).end()) as Handler,
      /./,
    ],
  ] as const) {
    server.documents.set('/document', answer);
    const url = `${server.url}/document`;
    const fetched = await pool.fetchDocument({ url, timeout: TIMEOUT });
    t.equal(fetched.document, undefined, name);
    t.match(fetched.failure, failure, name);
    t.notMatch(fetched.failure, /quoted nowhere|body-of-an-error/, name);
  }
  t.strictSame(other.requests, [], 'no redirect is followed');
  t.match(await pool.fetchDocument({ url: 'http://127.0.0.1:1/', timeout: TIMEOUT }), {
    failure: /ECONNREFUSED/,
  });
  server.documents.set('/document', { well: true });
  t.strictSame(
    await pool.fetchDocument({ url: `${server.url}/document`, timeout: TIMEOUT }),
    { document: { well: true } },
    'and the thread is well',
  );
});

t.test('whatever takes too long is given up', async (t) => {
  const [pool, server] = [await startPool(t), await documentServer(t)];
  const drip: Handler = (_request, response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write(' '), 20);
    response.on('close', () => clearInterval(timer));
  };
  const headersOnly: Handler = (_request, response) => void response.writeHead(200).flushHeaders();
  server.documents.set('/silence', silence).set('/drip', drip).set('/headers', headersOnly);
  await Promise.all(
    ['/silence', '/drip', '/headers'].map(async (path) => {
      const fetched = await pool.fetchDocument({ url: server.url + path, timeout: 150 });
      t.match(fetched.failure, /150 ms/, path);
    }),
  );
});

t.test('whom it is fetched from, and as whom', async (t) => {
  const authority = createAuthority(t, 'cluster-ca');
  const stranger = createAuthority(t, 'stranger-ca');
  const server = await documentServer(t, {
    ...authority.issue('api.example'),
    ca: authority.pem,
    requestCert: true,
    rejectUnauthorized: false,
  });
  server.documents.set('/version', { major: '1' });
  const pool = await startPool(t);
  const url = `${server.url}/version`;

  t.match(await pool.fetchDocument({ url, timeout: TIMEOUT }), { failure: /certificate/i });
  t.match(await pool.fetchDocument({ url, timeout: TIMEOUT, ca: stranger.pem }), {
    failure: /certificate/i,
  });
  t.strictSame(server.requests, [], 'nothing is said to whom is not trusted');

  const bearer = 'not-a-real-token';
  t.strictSame(await pool.fetchDocument({ url, timeout: TIMEOUT, ca: authority.pem, bearer }), {
    document: { major: '1' },
  });
  t.match(server.requests.pop(), { authorization: `Bearer ${bearer}`, client: undefined });

  const clientCertificate = authority.issue('node');
  await pool.fetchDocument({ url, timeout: TIMEOUT, ca: authority.pem, clientCertificate });
  t.match(server.requests.pop(), { authorization: undefined, client: 'node' });

  t.match(
    await pool.fetchDocument({ url, timeout: TIMEOUT }),
    { failure: /certificate/i },
    'one CA is good for its own server alone',
  );
  const outside = await startPool(t, { caBundle: authority.pem });
  t.ok((await outside.fetchDocument({ url, timeout: TIMEOUT })).document, 'of AWS_CA_BUNDLE');
});
