import t from 'tap';
import { issuerOfApiServer, type KeySource } from '../../src/identity/key-sources.ts';
import type { ApiServerAccess } from '../../src/kubernetes/access.ts';
import {
  apiServer,
  DISCOVERY,
  EKS_ISSUERS,
  failure,
  only,
  sources,
  workers,
} from './sources-harness.ts';

t.test('the API server', async (t) => {
  const server = await apiServer(t, { major: '1', minor: '30' });
  for (const issuer of ['https://kubernetes.default.svc', 'kubernetes/serviceaccount']) {
    const source = sources(issuer, server).at(-1) as KeySource;
    t.match(await source.fetch(), { keys: [{ kid: 'the-key' }] }, issuer);
  }
  t.match(server.requests, [
    { path: '/openid/v1/jwks', authorization: 'Bearer not-a-real-token' },
    { path: '/openid/v1/jwks' },
  ]);
  server.documents.set('/openid/v1/jwks', undefined);
  const message = await failure(sources('kubernetes/serviceaccount', server)[0] as KeySource);
  t.equal(message, 'the API server answered 404');
  t.notMatch(message, 'not-a-real-token');
});

t.test('the API server has the keys of EKS from Kubernetes 1.34 on', async (t) => {
  const server = await apiServer(t, undefined);
  for (const issuer of EKS_ISSUERS) {
    const source = sources(issuer, server).at(-1) as KeySource;
    for (const version of [
      { major: '1', minor: '33' },
      { major: '1', minor: '33+' },
      { major: '1', minor: '9' },
      { major: '1', minor: 'x' },
    ]) {
      server.documents.set('/version', version);
      t.match(await failure(source), /before Kubernetes 1\.34$/, `${issuer} ${version.minor}`);
    }
    for (const version of [undefined, {}, 'null', { major: 1, minor: 34 }, { major: '1' }]) {
      server.documents.set('/version', version);
      t.match(await failure(source), /^the API server answered /, 'a version that it does not say');
    }
    t.notOk(server.requests.some(({ path }) => path === '/openid/v1/jwks'));
    for (const version of [
      { major: '1', minor: '34' },
      { major: '1', minor: '34+' },
      { major: '1', minor: '100' },
      { major: '2', minor: '0' },
    ]) {
      server.documents.set('/version', version);
      t.match(await source.fetch(), { keys: [{ kid: 'the-key' }] }, `${version.minor}`);
    }
    server.requests.length = 0;
  }
  const lookalike = sources('https://oidc.eks.example.com', server).at(-1) as KeySource;
  server.documents.set('/version', { major: '1', minor: '20' });
  t.match(await failure(lookalike), /1\.34/, 'what looks like EKS is held to be EKS');
});

t.test('an access that fails is a source that fails', async (t) => {
  const access: ApiServerAccess = {
    request: () => Promise.reject(new Error('the token file is gone')),
  };
  const source = only(sources('kubernetes/serviceaccount', { apiServer: access }));
  await t.rejects(source.fetch(), { message: /token file is gone/ });
});

t.test('the issuer that the API server names', async (t) => {
  const server = await apiServer(t, undefined);
  for (const document of [undefined, '<html>', {}, { issuer: '' }, { issuer: 7 }, []]) {
    server.documents.set(DISCOVERY, document);
    await t.rejects(issuerOfApiServer(workers, server.apiServer), { name: 'KeySourceError' });
  }
  server.documents.set(DISCOVERY, { issuer: EKS_ISSUERS[0], jwks_uri: 'https://10.0.0.1/jwks' });
  t.equal(await issuerOfApiServer(workers, server.apiServer), EKS_ISSUERS[0]);
});
