import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import { inClusterAccess, kubeconfigAccess } from '../../src/kubernetes/access.ts';

const CA = '-----BEGIN CERTIFICATE-----\nnot a real one\n-----END CERTIFICATE-----\n';
const HERE = { KUBERNETES_SERVICE_HOST: '10.100.0.1', KUBERNETES_SERVICE_PORT: '443' };

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

t.test('in a pod: its service account, and the address from the environment', async (t) => {
  const folder = t.testdir({ token: 'first-token\n', 'ca.crt': CA });
  const access = await inClusterAccess(HERE, folder);
  t.strictSame(await access?.request('/version'), {
    url: 'https://10.100.0.1:443/version',
    timeout: 2_000,
    bearer: 'first-token',
    ca: CA,
  });
  await writeFile(join(folder, 'token'), 'second-token');
  await writeFile(join(folder, 'ca.crt'), 'another CA');
  t.match(
    await access?.request('/openid/v1/jwks'),
    { url: 'https://10.100.0.1:443/openid/v1/jwks', bearer: 'second-token', ca: 'another CA' },
    'read anew for each request, since they rotate',
  );
  await rm(join(folder, 'token'));
  await t.rejects(access?.request('/version') as Promise<unknown>, { code: 'ENOENT' });
});

t.test('in a pod: forms of the address', async (t) => {
  const folder = t.testdir({ token: 'token', 'ca.crt': CA });
  const url = async (environment: NodeJS.ProcessEnv) =>
    (await (await inClusterAccess(environment, folder))?.request('/x'))?.url;
  t.equal(
    await url({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' }),
    'https://[fd00::1]:6443/x',
  );
  t.equal(await url({ KUBERNETES_SERVICE_HOST: '10.100.0.1' }), 'https://10.100.0.1:443/x');
  t.equal(
    await url({ KUBERNETES_SERVICE_HOST: 'api.example', KUBERNETES_SERVICE_PORT: '443' }),
    'https://api.example:443/x',
  );
});

t.test('nowhere near a cluster, or without a service account', async (t) => {
  const whole = t.testdir({ token: 'token', 'ca.crt': CA });
  t.equal(await inClusterAccess({}, whole), undefined, 'no cluster');
  t.equal(await inClusterAccess({ ...HERE, KUBERNETES_SERVICE_HOST: '' }, whole), undefined);
  await rm(join(whole, 'ca.crt'));
  t.equal(await inClusterAccess(HERE, whole), undefined, 'no CA');
  await rm(join(whole, 'token'));
  t.equal(await inClusterAccess(HERE, whole), undefined, 'no token');
  t.equal(await inClusterAccess(HERE, join(whole, 'missing')), undefined, 'no folder');
});

interface Kubeconfig {
  'current-context'?: unknown;
  contexts?: unknown;
  clusters?: unknown;
  users?: unknown;
}

/** A kubeconfig of one cluster and one user. */
function kubeconfig(cluster: object, user: object, changes: Kubeconfig = {}): Kubeconfig {
  return {
    'current-context': 'here',
    contexts: [
      { name: 'other', context: { cluster: 'other', user: 'other' } },
      { name: 'here', context: { cluster: 'prod', user: 'node' } },
    ],
    clusters: [
      { name: 'other', cluster: { server: 'https://other.example' } },
      { name: 'prod', cluster },
    ],
    users: [
      { name: 'other', user: { token: 'of-another' } },
      { name: 'node', user },
    ],
    ...changes,
  };
}

const SERVER = { server: 'https://api.example:6443' };

t.test('a kubeconfig: what each form of it asks with', async (t) => {
  const folder = t.testdir({ pki: { 'ca.crt': CA, 'node.crt': 'cert', 'node.key': 'key' } });
  const file = join(folder, 'config');
  await writeFile(join(folder, 'token'), 'token-of-a-file\n');
  const asked = async (cluster: object, user: object) => {
    await writeFile(file, stringify(kubeconfig(cluster, user)));
    return (await kubeconfigAccess(file)).request('/version');
  };
  const timeout = 2_000;
  const url = 'https://api.example:6443/version';
  t.strictSame(await asked(SERVER, { token: 'a-token' }), { url, timeout, bearer: 'a-token' });
  t.strictSame(await asked(SERVER, {}), { url, timeout }, 'nobody in particular');
  t.strictSame(
    await asked({ ...SERVER, 'certificate-authority-data': base64(CA) }, { token: 'a-token' }),
    { url, timeout, ca: CA, bearer: 'a-token' },
  );
  t.strictSame(
    await asked({ ...SERVER, 'certificate-authority': 'pki/ca.crt' }, { tokenFile: 'token' }),
    { url, timeout, ca: CA, bearer: 'token-of-a-file' },
    'files are beside the kubeconfig',
  );
  t.strictSame(
    await asked({ ...SERVER, 'certificate-authority': join(folder, 'pki/ca.crt') }, {}),
    { url, timeout, ca: CA },
    'or anywhere',
  );
  t.strictSame(
    await asked(SERVER, { 'client-certificate': 'pki/node.crt', 'client-key': 'pki/node.key' }),
    { url, timeout, clientCertificate: { cert: 'cert', key: 'key' } },
  );
  t.strictSame(
    await asked(SERVER, {
      'client-certificate-data': base64('cert in data'),
      'client-key-data': base64('key in data'),
      'client-certificate': 'pki/node.crt',
      'client-key': 'pki/node.key',
    }),
    { url, timeout, clientCertificate: { cert: 'cert in data', key: 'key in data' } },
    'data goes before files',
  );
  t.equal(
    (await asked({ server: 'https://api.example/prefix/' }, {})).url,
    'https://api.example/prefix/version',
  );
  t.match(await asked(SERVER, { token: 'a-token', tokenFile: 'token' }), {
    bearer: 'token-of-a-file',
  });
  t.match(await asked({ ...SERVER, 'insecure-skip-tls-verify': false }, {}), { url });
});

t.test('a kubeconfig is read anew for each request', async (t) => {
  const folder = t.testdir({ token: 'first' });
  const file = join(folder, 'config');
  await writeFile(file, stringify(kubeconfig(SERVER, { tokenFile: 'token' })));
  const access = await kubeconfigAccess(file);
  t.match(await access.request('/x'), { bearer: 'first' });
  await writeFile(join(folder, 'token'), 'second');
  t.match(await access.request('/x'), { bearer: 'second' });
  await writeFile(file, stringify(kubeconfig({ server: 'https://moved.example' }, {})));
  t.strictSame(await access.request('/x'), { url: 'https://moved.example/x', timeout: 2_000 });
  await writeFile(file, 'current-context: nowhere');
  await t.rejects(access.request('/x'), { name: 'KubeconfigError' });
});

t.test('JSON is YAML', async (t) => {
  const file = join(t.testdir(), 'config.json');
  await writeFile(file, JSON.stringify(kubeconfig(SERVER, { token: 'a-token' })));
  t.match(await (await kubeconfigAccess(file)).request('/x'), { bearer: 'a-token' });
});

t.test('a kubeconfig that cannot be used: why, and which', async (t) => {
  const folder = t.testdir();
  const file = join(folder, 'config');
  await mkdir(join(folder, 'folder'));
  const refused = async (content: string | Kubeconfig, reason: RegExp, name: string) => {
    await writeFile(file, typeof content === 'string' ? content : stringify(content));
    const error = await kubeconfigAccess(file).then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    t.equal(error?.name, 'KubeconfigError', name);
    t.match(error?.message, reason, name);
    t.match(error?.message, file, `${name}: names the file`);
    t.notMatch(error?.message, /\n|quoted-nowhere/, `${name}: in one line, without secrets`);
  };
  await t.rejects(kubeconfigAccess(join(folder, 'missing')), {
    name: 'KubeconfigError',
    message: /missing cannot be read: ENOENT/,
  });
  await t.rejects(kubeconfigAccess(join(folder, 'folder')), { message: /cannot be read: EISDIR/ });
  await refused('', /no context set$/, 'empty');
  await refused('# nothing', /no context set$/, 'a comment');
  await refused('{', /cannot be read: /, 'half a file');
  await refused('a: b: quoted-nowhere\n', /cannot be read: /, 'no YAML');
  await refused('text', /no context/, 'text');
  await refused('[]', /no context/, 'a list');
  await refused('1', /no context/, 'a number');
  const user = { token: 'quoted-nowhere' };
  const good = kubeconfig(SERVER, user);
  await refused({ ...good, 'current-context': undefined }, /no context set$/, 'no current context');
  await refused({ ...good, 'current-context': 'x' }, /no context x$/, 'another current context');
  await refused(
    { ...good, 'current-context': 7 },
    /no context 7$/,
    'a current context of a number',
  );
  await refused({ ...good, contexts: undefined }, /no context here$/, 'no contexts');
  await refused({ ...good, contexts: 'here' }, /no context here$/, 'contexts of text');
  await refused({ ...good, contexts: [null] }, /no context here$/, 'contexts of nothing');
  await refused(
    { ...good, contexts: [{ name: 'here' }] },
    /no cluster set$/,
    'a context of nothing',
  );
  await refused({ ...good, clusters: [] }, /no cluster prod$/, 'no cluster');
  await refused({ ...good, users: [] }, /no user node$/, 'no user');
  for (const [cluster, reason] of [
    [{}, /has to be an https URL$/],
    [{ server: 'http://api.example' }, /has to be an https URL$/],
    [{ server: 'api.example:6443' }, /has to be an https URL$/],
    [{ server: 7 }, /has to be an https URL$/],
    [{ ...SERVER, 'insecure-skip-tls-verify': true }, /insecure-skip-tls-verify is not supported$/],
    [
      { ...SERVER, 'certificate-authority': 'missing.crt' },
      /certificate-authority cannot be read: ENOENT/,
    ],
  ] as const) {
    await refused(kubeconfig(cluster, user), reason, JSON.stringify(cluster));
  }
  for (const [given, reason] of [
    [{ exec: { command: 'aws' } }, /exec is not supported$/],
    [{ 'auth-provider': { name: 'gcp' } }, /auth-provider is not supported$/],
    [{ username: 'quoted-nowhere', password: 'quoted-nowhere' }, /username is not supported$/],
    [{ 'client-certificate-data': base64('cert') }, /need each other$/],
    [{ 'client-key-data': base64('key') }, /need each other$/],
    [{ tokenFile: 'missing' }, /tokenFile cannot be read: ENOENT/],
    [{ 'client-certificate': 'missing', 'client-key': 'missing' }, /client-certificate cannot be/],
  ] as const) {
    await refused(kubeconfig(SERVER, given), reason, JSON.stringify(given));
  }
});
