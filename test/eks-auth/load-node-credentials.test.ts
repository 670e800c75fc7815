import { execFile } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { createCredentialsLoader } from '../../src/eks-auth/load-node-credentials.ts';
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
  t.strictSame(await createCredentialsLoader(t.fail)(), {
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
  const load = createCredentialsLoader(t.fail);
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
  t.match(await createCredentialsLoader(t.fail)(), {
    accessKeyId: 'ASIAPROCESS',
    expiresAt: Date.parse('2030-01-01T00:00:00Z'),
    remote: false,
  });
});

t.test('the instance', async (t) => {
  const imds = await startImds(t);
  environment(t, { HOME: t.testdir(), AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url });
  const load = createCredentialsLoader(t.fail);
  const loaded = await load();
  t.match(loaded, { accessKeyId: 'ASIAINSTANCE', remote: true });
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
    const loaded = await createCredentialsLoader(console.error)();
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
  t.match(await createCredentialsLoader((message) => warnings.push(message))(), {
    accessKeyId: 'AKIAFILE',
  });
  t.match(warnings, [/Multiple credential sources/]);
});
