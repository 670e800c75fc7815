import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import t from 'tap';
import {
  type KeySource,
  type KeySourceOptions,
  SOURCE_TIMEOUT,
} from '../../src/identity/key-sources.ts';
import type { ApiServerAccess } from '../../src/kubernetes/access.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { signingKey } from '../tokens/signed-tokens.ts';
import {
  document,
  documentServer,
  endless,
  type Handler,
  halfABody,
  silence,
} from '../workers/document-server.ts';
import {
  apiServer,
  DISCOVERY,
  EKS_ISSUERS,
  failure,
  KEYS,
  key,
  only,
  sources,
} from './sources-harness.ts';

t.test('sources in their order, and which there are', async (t) => {
  const apiServer: ApiServerAccess = { request: () => Promise.reject(new Error('not asked')) };
  const names = (issuer: string, options: Partial<KeySourceOptions>) =>
    sources(issuer, options).map((source) => source.name);
  t.strictSame(
    names('https://issuer.example/id', {
      jwksFile: '/keys.json',
      jwksUri: new URL('https://keys.example/jwks'),
      apiServer,
    }),
    [
      'the file /keys.json',
      'https://keys.example/jwks',
      `https://issuer.example/id${DISCOVERY}`,
      'the API server',
    ],
  );
  t.strictSame(names('https://issuer.example', {}), [`https://issuer.example${DISCOVERY}`]);
  t.strictSame(names('https://issuer.example/', {}), [`https://issuer.example${DISCOVERY}`]);
  t.strictSame(names('http://127.0.0.1:8090/id', {}), [`http://127.0.0.1:8090/id${DISCOVERY}`]);
  for (const issuer of ['http://issuer.example', 'kubernetes/serviceaccount', 'file:///etc', '']) {
    t.strictSame(names(issuer, {}), [], `nothing to discover: ${issuer}`);
    t.strictSame(names(issuer, { apiServer }), ['the API server']);
  }
});

t.test('a file', async (t) => {
  const file = join(t.testdir(), 'keys.json');
  const source = only(sources('kubernetes/serviceaccount', { jwksFile: file }));
  t.match(await failure(source), /keys\.json cannot be read: ENOENT/);
  await writeFile(file, JSON.stringify(KEYS));
  t.match(await source.fetch(), { keys: [{ kid: 'the-key' }] });
  await writeFile(file, JSON.stringify({ keys: [signingKey('ES256', 'new-key').jwk] }));
  t.match(await source.fetch(), { keys: [{ kid: 'new-key' }] }, 'is read anew each time');
  for (const [content, complaint] of [
    ['', /is not JSON$/],
    ['quoted nowhere', /is not JSON$/],
    ['null', /without keys$/],
    ['[]', /without keys$/],
    ['{"keys":{}}', /without keys$/],
    ['{"keys":[]}', /without a signing key$/],
  ] as const) {
    await writeFile(file, content);
    t.match(await failure(source), complaint, content);
  }
});

t.test('a file that is not read in time gives way', async (t) => {
  const file = join(t.testdir({}), 'jwks.json');
  // A pipe that nobody writes to: like a file on a volume that hangs.
  execFileSync('mkfifo', [file]);
  const clock = new ManualClock();
  const failing = failure(only(sources('kubernetes/serviceaccount', { jwksFile: file, clock })));
  await clock.advance(SOURCE_TIMEOUT - 1);
  t.equal(clock.pending, 1, 'it is waited for');
  await clock.advance(1);
  t.match(await failing, /cannot be read: not within 2000 ms$/);
  t.equal(clock.pending, 0);
  // Lets go of the thread that reads.
  await writeFile(file, '');
});

t.test('a file that hangs keeps one thread, however often it is asked for', async (t) => {
  const file = join(t.testdir({ other: 'read' }), 'jwks.json');
  execFileSync('mkfifo', [file]);
  const clock = new ManualClock();
  const source = only(sources('kubernetes/serviceaccount', { jwksFile: file, clock }));
  // More often than there are threads for files and for looking names up.
  for (let time = 0; time < 8; time += 1) {
    const failing = failure(source);
    await clock.advance(SOURCE_TIMEOUT);
    await failing;
  }
  t.equal(await readFile(join(t.testdirName, 'other'), 'utf8'), 'read', 'others go on');
  const found = source.fetch();
  await writeFile(file, JSON.stringify(KEYS));
  t.match(await found, { keys: [{ kid: 'the-key' }] }, 'and so does it, once it can be read');
});

t.test('a file without an end', async (t) => {
  const source = only(sources('kubernetes/serviceaccount', { jwksFile: '/dev/zero' }));
  t.match(await failure(source), /zero cannot be read: more than 256 KiB$/);
});

t.test('a fixed address', async (t) => {
  const server = await documentServer(t);
  const jwksUri = new URL(`${server.url}/jwks`);
  const source = only(sources('kubernetes/serviceaccount', { jwksUri }));
  t.match(await failure(source), `${server.url}/jwks answered 404`);
  server.documents.set('/jwks', KEYS);
  t.match(await source.fetch(), { keys: [{ kid: 'the-key', kty: 'RSA' }] });
});

/** An issuer with its documents, and the source of its keys. */
async function issuer(t: Test, path = '/id/ABC') {
  const server = await documentServer(t);
  const name = `${server.url}${path}`;
  const configuration = { issuer: name, jwks_uri: `${server.url}/keys` };
  server.documents.set(`${path.replace(/\/$/, '')}${DISCOVERY}`, configuration);
  server.documents.set('/keys', KEYS);
  const discovers = (document: unknown) => {
    server.documents.set(`${path.replace(/\/$/, '')}${DISCOVERY}`, document);
  };
  return { server, name, configuration, discovers, source: only(sources(name)) };
}

t.test("the issuer's discovery", async (t) => {
  for (const path of ['/id/ABC', '', '/tenant/']) {
    const { server, source } = await issuer(t, path);
    t.match(await source.fetch(), { keys: [{ kid: 'the-key' }] }, `issuer with the path '${path}'`);
    t.strictSame(
      server.requests.map((request) => request.path),
      [`${path.replace(/\/$/, '')}${DISCOVERY}`, '/keys'],
    );
  }
});

t.test('what discovery must not lead to', async (t) => {
  const { server, name, configuration, discovers, source } = await issuer(t);
  for (const [what, document, complaint] of [
    ['another issuer', { ...configuration, issuer: 'https://issuer.example' }, /another issuer$/],
    ['the issuer with a slash', { ...configuration, issuer: `${name}/` }, /another issuer$/],
    ['no issuer', { jwks_uri: configuration.jwks_uri }, /without issuer$/],
    ['an issuer of a number', { ...configuration, issuer: 1 }, /without issuer$/],
    ['no jwks_uri', { issuer: name }, /without jwks_uri$/],
    ['a jwks_uri of a list', { ...configuration, jwks_uri: [server.url] }, /without jwks_uri$/],
    ['plain http', { ...configuration, jwks_uri: 'http://10.255.255.1/keys' }, /not https$/],
    [
      'plain http to a name that begins like loopback',
      { ...configuration, jwks_uri: 'http://127.0.0.1.issuer.example/keys' },
      /not https$/,
    ],
    ['a file', { ...configuration, jwks_uri: 'file:///etc/passwd' }, /not https$/],
    ['no URL', { ...configuration, jwks_uri: '/keys' }, /not https$/],
    ['no record', [], /without issuer$/],
    ['null', 'null', /without issuer$/],
    ['garbage', '<html>', /not JSON$/],
  ] as const) {
    discovers(document);
    t.match(await failure(source), complaint, what);
  }
  t.notOk(
    server.requests.some(({ path }) => path === '/keys'),
    'no keys are fetched then',
  );
});

t.test('no redirects, no more than 256 KiB, nothing that is not whole', async (t) => {
  const elsewhere = await documentServer(t);
  elsewhere.documents.set('/keys', KEYS);
  const redirect: Handler = (_request, response) =>
    void response.writeHead(302, { Location: `${elsewhere.url}/keys` }).end(JSON.stringify(KEYS));
  const { server, source, discovers, configuration } = await issuer(t);
  const kinds: readonly (readonly [string, unknown, RegExp])[] = [
    ['a redirect', redirect, /answered 302$/],
    ['too much', document(256 * 1024 + 1), /more than 256 KiB$/],
    ['no end', endless, /more than 256 KiB$/],
    ['half a body', halfABody, /./],
    ['garbage', '{"keys": [', /not JSON$/],
    ['not found', undefined, /answered 404$/],
  ];
  for (const [what, answer, complaint] of kinds) {
    discovers(answer);
    t.match(await failure(source), complaint, `${what}, for the configuration`);
  }
  discovers(configuration);
  for (const [what, answer, complaint] of kinds) {
    server.documents.set('/keys', answer);
    t.match(await failure(source), complaint, `${what}, for the keys`);
  }
  t.strictSame(elsewhere.requests, []);
});

t.test('whoever takes longer than two seconds gives way', async (t) => {
  t.equal(SOURCE_TIMEOUT, 2_000);
  const late =
    (document: unknown, delay: number): Handler =>
    (_request, response) =>
      void setTimeout(() => response.end(JSON.stringify(document)), delay).unref();
  const silent = await issuer(t);
  silent.discovers(silence);
  const halfway = await issuer(t);
  halfway.discovers(late(halfway.configuration, 1_200));
  halfway.server.documents.set('/keys', late(KEYS, 1_200));
  const fixed = await documentServer(t);
  fixed.documents.set('/jwks', silence);
  const jwksUri = new URL(`${fixed.url}/jwks`);
  const halfwayServer = await apiServer(t, late({ major: '1', minor: '34' }, 1_200));
  halfwayServer.documents.set('/openid/v1/jwks', late(KEYS, 1_200));
  const ofServer = sources(EKS_ISSUERS[0] as string, halfwayServer).at(-1) as KeySource;
  const began = performance.now();
  await Promise.all(
    [silent.source, halfway.source, only(sources('x', { jwksUri })), ofServer].map(
      async (source, index) => {
        t.match(await failure(source), /\d ms/);
        const took = performance.now() - began;
        t.ok(took > 1_900 && took < 4_000, `source ${index} gave way after ${Math.round(took)} ms`);
      },
    ),
  );
  for (const [{ requests }, keys] of [
    [halfway.server, '/keys'],
    [halfwayServer, '/openid/v1/jwks'],
  ] as const) {
    const asked = requests.some(({ path }) => path === keys);
    t.ok(asked, 'both documents together have two seconds');
  }
});

t.test('public signing keys, and nothing else', async (t) => {
  const file = join(t.testdir(), 'keys.json');
  const source = only(sources('kubernetes/serviceaccount', { jwksFile: file }));
  const given = async (...keys: readonly unknown[]) => {
    await writeFile(file, JSON.stringify({ keys }));
    return (await source.fetch()).keys;
  };
  const secret = key.privateKey.export({ format: 'jwk' });
  const [kept = {}] = await given({ ...key.jwk, ...secret, x5c: ['MIIB'], other: 1 });
  t.strictSame(
    Object.keys(kept).toSorted(),
    ['alg', 'e', 'kid', 'kty', 'n', 'use'],
    'no private half',
  );
  const ec = signingKey('ES256', 'ec');
  const [point = {}] = await given({ ...ec.jwk, ...ec.privateKey.export({ format: 'jwk' }) });
  t.strictSame(Object.keys(point).toSorted(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
  const ed = signingKey('EdDSA', 'ed');
  const unsuited: readonly unknown[] = [
    { kty: 'oct', k: 'AAAA', kid: 'symmetric', alg: 'HS256' },
    { ...key.jwk, use: 'enc' },
    { ...key.jwk, kty: undefined },
    { ...key.jwk, kty: 'rsa' },
    { ...key.jwk, kty: ['RSA'] },
    null,
    'text',
    1,
    [],
  ];
  t.strictSame(
    (await given(...unsuited, key.jwk, ec.jwk, ed.jwk)).map(({ kid }) => kid),
    ['the-key', 'ec', 'ed'],
  );
  await t.rejects(given(...unsuited), { message: /without a signing key$/ });
  t.equal((await given(...Array.from({ length: 64 }, () => key.jwk))).length, 64);
  await t.rejects(given(...Array.from({ length: 65 }, () => key.jwk)), { message: /more than 64/ });
});
