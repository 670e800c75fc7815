import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { createCredentialsLoader } from '../../src/eks-auth/load-node-credentials.ts';
import { READ_TIMEOUT } from '../../src/read-file.ts';
import { createAuthority } from '../support/certificates.ts';
import { startProxy } from '../support/connect-proxy.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { answerWith, startServer } from './eks-auth-server.ts';
import { startImds } from './imds-server.ts';

/** Sets the variables that the SDK's chain reads; all others that it knows are taken away. */
function environment(t: { teardown(undo: () => void): void }, set: Record<string, string>) {
  const before = { ...process.env };
  for (const name of Object.keys(process.env)) {
    if (name.startsWith('AWS_')) delete process.env[name];
  }
  Object.assign(process.env, set);
  t.teardown(() => {
    for (const name of Object.keys(process.env)) delete process.env[name];
    Object.assign(process.env, before);
  });
}

const NO_IMDS = { AWS_EC2_METADATA_DISABLED: 'true' };
const profile = (id: string) =>
  `[default]\naws_access_key_id = ${id}\naws_secret_access_key = example\naws_session_token = token\n`;

t.test('the environment', async (t) => {
  environment(t, {
    ...NO_IMDS,
    HOME: t.testdir(),
    AWS_ACCESS_KEY_ID: 'AKIAENV',
    AWS_SECRET_ACCESS_KEY: 'example',
    AWS_CREDENTIAL_EXPIRATION: '2030-01-01T00:00:00Z',
  });
  t.strictSame(await createCredentialsLoader({ warn: t.fail })(), {
    accessKeyId: 'AKIAENV',
    secretAccessKey: 'example',
    expiresAt: Date.parse('2030-01-01T00:00:00Z'),
    remote: false,
  });
});

t.test('a shared file, read anew each time', async (t) => {
  const folder = t.testdir({ credentials: profile('AKIAFIRST') });
  const file = join(folder, 'credentials');
  environment(t, { ...NO_IMDS, HOME: folder, AWS_SHARED_CREDENTIALS_FILE: file });
  const load = createCredentialsLoader({ warn: t.fail });
  t.strictSame(await load(), {
    accessKeyId: 'AKIAFIRST',
    secretAccessKey: 'example',
    sessionToken: 'token',
    remote: false,
  });
  writeFileSync(file, profile('AKIASECOND'));
  t.match(await load(), { accessKeyId: 'AKIASECOND' });
  writeFileSync(file, profile('AKIASECOND').slice(0, 40));
  await t.rejects(load(), { message: /none in the environment or in profile default/ });
  rmSync(file);
  await t.rejects(load(), { message: /switched off by AWS_EC2_METADATA_DISABLED/ });
  writeFileSync(file, profile('AKIATHIRD'));
  t.match(await load(), { accessKeyId: 'AKIATHIRD' });
});

t.test('a process that the configuration names', async (t) => {
  const credentials = JSON.stringify({
    Version: 1,
    AccessKeyId: 'ASIAPROCESS',
    SecretAccessKey: 'example',
    SessionToken: 'token',
    Expiration: '2030-01-01T00:00:00Z',
  });
  const folder = t.testdir({ 'creds.json': credentials });
  writeFileSync(
    join(folder, 'config'),
    `[default]\ncredential_process = cat ${folder}/creds.json\n`,
  );
  environment(t, { ...NO_IMDS, HOME: folder, AWS_CONFIG_FILE: join(folder, 'config') });
  t.match(await createCredentialsLoader({ warn: t.fail })(), {
    accessKeyId: 'ASIAPROCESS',
    expiresAt: Date.parse('2030-01-01T00:00:00Z'),
    remote: false,
  });
});

t.test('the instance', async (t) => {
  const imds = await startImds(t);
  environment(t, { HOME: t.testdir(), AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url });
  const load = createCredentialsLoader({ warn: t.fail });
  const sources: string[] = [];
  const loaded = await load((source) => void sources.push(source));
  t.match(loaded, { accessKeyId: 'ASIAINSTANCE', remote: true });
  t.strictSame(sources, ['instance metadata'], 'it says what it waits for');
  t.ok((loaded.expiresAt ?? 0) > Date.now() + 3_600_000);

  delete imds.instance.role;
  await t.rejects(load(), {
    message:
      /instance metadata: .* answered 404 to GET \/latest\/meta-data\/iam\/security-credentials\//,
  });
  process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT = 'http://127.0.0.1:1';
  await t.rejects(load(), { message: /instance metadata: .*ECONNREFUSED/ });
});

t.test('the instance is never reached through a proxy', async (t) => {
  const imds = await startImds(t);
  const script = `
    const { createCredentialsLoader } = await import(process.argv[1]);
    const loaded = await createCredentialsLoader({ warn: console.error })();
    console.log(loaded.accessKeyId);`;
  const module = new URL('../../src/eks-auth/load-node-credentials.ts', import.meta.url).href;
  const variables = { HOME: t.testdir(), AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url };
  const proxied = { HTTP_PROXY: 'http://127.0.0.1:1', http_proxy: 'http://127.0.0.1:1' };
  for (const NODE_USE_ENV_PROXY of ['0', '1']) {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '-e', script, module],
      { env: { ...variables, ...proxied, NODE_USE_ENV_PROXY } },
    );
    t.equal(stdout, 'ASIAINSTANCE\n', `NODE_USE_ENV_PROXY=${NODE_USE_ENV_PROXY}`);
  }
});

t.test('what the SDK warns of is passed on', async (t) => {
  const folder = t.testdir({ credentials: profile('AKIAFILE') });
  environment(t, {
    ...NO_IMDS,
    HOME: folder,
    AWS_SHARED_CREDENTIALS_FILE: join(folder, 'credentials'),
    AWS_PROFILE: 'default',
    AWS_ACCESS_KEY_ID: 'AKIAENV',
    AWS_SECRET_ACCESS_KEY: 'example',
  });
  const warnings: string[] = [];
  t.match(await createCredentialsLoader({ warn: (message) => warnings.push(message) })(), {
    accessKeyId: 'AKIAFILE',
  });
  t.match(warnings, [/Multiple credential sources/]);
});

/** STS or SSO, to which only a proxy leads, with a CA of its own; and an instance. */
async function behindProxy(t: Test, host: 'sts.test' | 'sso.test') {
  const authority = createAuthority(t);
  const aws = await startServer(t, authority.issue(host));
  const proxy = await startProxy(t, aws.port);
  const imds = await startImds(t);
  const variables = {
    AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url,
    AWS_ENDPOINT_URL_STS: 'https://sts.test',
    AWS_ENDPOINT_URL_SSO: 'https://sso.test',
  };
  const load = createCredentialsLoader({
    warn: t.fail,
    environment: {
      HTTPS_PROXY: proxy.url,
      HTTP_PROXY: proxy.url,
    },
    caBundle: authority.pem,
  });
  return { aws, proxy, imds, variables, load };
}

const assumed = (action: string) =>
  `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result>
     <Credentials><AccessKeyId>ASIAASSUMED</AccessKeyId><SecretAccessKey>example</SecretAccessKey>
     <SessionToken>token</SessionToken><Expiration>2030-01-01T00:00:00Z</Expiration></Credentials>
   </${action}Result></${action}Response>`;

t.test('STS is reached by proxy and trusted by the bundle, for a web identity', async (t) => {
  const { aws, proxy, imds, variables, load } = await behindProxy(t, 'sts.test');
  const HOME = t.testdir({ token: 'web-identity-token' });
  environment(t, {
    ...variables,
    HOME,
    AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/node',
    AWS_WEB_IDENTITY_TOKEN_FILE: `${HOME}/token`,
  });
  aws.respond = answerWith(200, assumed('AssumeRoleWithWebIdentity'), {
    'content-type': 'text/xml',
  });
  t.match(await load(), {
    accessKeyId: 'ASIAASSUMED',
    expiresAt: Date.parse('2030-01-01T00:00:00Z'),
    remote: false,
  });
  t.strictSame(proxy.asked, ['sts.test:443']);
  t.match(aws.received, [{ body: /WebIdentityToken=web-identity-token/ }]);
  t.match(imds.received.at(-1), { url: '/latest/meta-data/placement/region' });

  proxy.mode = 503;
  aws.sockets.forEach((socket) => void socket.destroy());
  await t.rejects(load(), { code: 'ERR_CREDENTIAL_CHAIN', message: /503/ });
});

t.test('STS by proxy, the instance directly, for a profile with a role', async (t) => {
  const { aws, proxy, imds, variables, load } = await behindProxy(t, 'sts.test');
  const HOME = t.testdir({
    '.aws': {
      config: `[default]
role_arn = arn:aws:iam::111122223333:role/node
credential_source = Ec2InstanceMetadata
`,
    },
  });
  environment(t, { ...variables, HOME });
  aws.respond = answerWith(200, assumed('AssumeRole'), { 'content-type': 'text/xml' });
  t.match(await load(), { accessKeyId: 'ASIAASSUMED', remote: false });
  t.strictSame(proxy.asked, ['sts.test:443'], 'the instance is none of its business');
  t.match(
    aws.received,
    [{ headers: { authorization: /Credential=ASIAINSTANCE\/\d+\/eu-north-1\/sts/ } }],
    "signed as the instance, for the instance's region",
  );
  t.ok(imds.received.length > 0);
});

t.test('SSO is reached by proxy', async (t) => {
  const { aws, proxy, variables, load } = await behindProxy(t, 'sso.test');
  const start = 'https://example.awsapps.com/start';
  const digest = createHash('sha1').update(start).digest('hex');
  const HOME = t.testdir({
    '.aws': {
      config: `[default]
sso_start_url = ${start}
sso_region = eu-west-1
sso_account_id = 111122223333
sso_role_name = node
`,
      sso: {
        cache: {
          [`${digest}.json`]: JSON.stringify({
            accessToken: 'sso-token',
            expiresAt: '2030-01-01T00:00:00Z',
          }),
        },
      },
    },
  });
  environment(t, { ...variables, HOME });
  aws.respond = answerWith(200, {
    roleCredentials: {
      accessKeyId: 'ASIASSO',
      secretAccessKey: 'example',
      sessionToken: 'token',
      expiration: Date.parse('2030-01-01T00:00:00Z'),
    },
  });
  t.match(await load(), { accessKeyId: 'ASIASSO', remote: false });
  t.strictSame(proxy.asked, ['sso.test:443']);
});

t.test('a file that hangs keeps one thread, and is named', async (t) => {
  for (const [variable, more] of [
    ['AWS_SHARED_CREDENTIALS_FILE', {}],
    ['AWS_CONFIG_FILE', {}],
    ['AWS_WEB_IDENTITY_TOKEN_FILE', { AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/node' }],
    [
      'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE',
      { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1:1/' },
    ],
  ] as const) {
    await t.test(variable, async (t) => {
      const folder = t.testdir({ other: 'read' });
      const file = join(folder, 'file');
      // A pipe that nobody writes to.
      await promisify(execFile)('mkfifo', [file]);
      environment(t, { ...NO_IMDS, ...more, HOME: folder, [variable]: file });
      const clock = new ManualClock();
      const load = createCredentialsLoader({ warn: t.fail, clock });
      // More often than there are threads for files and for looking names up.
      for (let time = 0; time < 6; time += 1) {
        const loading = load();
        const failing = t.rejects(loading, {
          message: `${file} cannot be read: not within 2000 ms`,
        });
        // The other files are not there: only this one is waited for then.
        while (clock.pending !== 1) await new Promise(setImmediate);
        await clock.advance(READ_TIMEOUT);
        await failing;
      }
      t.equal(await readFile(join(folder, 'other'), 'utf8'), 'read', 'others go on');
      // Lets go of the thread that reads.
      await writeFile(file, '');
    });
  }
});

t.test('credentials of the environment need no file', async (t) => {
  const HOME = t.testdir({});
  await promisify(execFile)('mkfifo', [join(HOME, 'pipe')]);
  environment(t, {
    ...NO_IMDS,
    HOME,
    AWS_SHARED_CREDENTIALS_FILE: join(HOME, 'pipe'),
    AWS_ACCESS_KEY_ID: 'AKIAENV',
    AWS_SECRET_ACCESS_KEY: 'example',
  });
  t.match(await createCredentialsLoader({ warn: t.fail })(), { accessKeyId: 'AKIAENV' });
});

t.test('what was read of a file is what the chain uses: it reads nothing itself', async (t) => {
  const HOME = t.testdir({});
  const file = join(HOME, 'pipe');
  await promisify(execFile)('mkfifo', [file]);
  environment(t, { ...NO_IMDS, HOME, AWS_SHARED_CREDENTIALS_FILE: file });
  const loading = createCredentialsLoader({ warn: t.fail })();
  // A second read would wait for a second writer.
  await writeFile(file, profile('AKIAPIPE'));
  t.match(await loading, { accessKeyId: 'AKIAPIPE' });
});
