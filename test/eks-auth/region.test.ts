import type { ServerResponse } from 'node:http';
import t from 'tap';
import { readInstanceMetadata } from '../../src/eks-auth/imds.ts';
import { resolveRegion } from '../../src/eks-auth/region.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { until } from '../support/until.ts';
import { answerWith } from './eks-auth-server.ts';
import { startImds } from './imds-server.ts';

const NO_IMDS = { AWS_EC2_METADATA_DISABLED: 'true' };

t.test('the environment says it', async (t) => {
  t.equal(await resolveRegion({ AWS_REGION: 'eu-west-1', AWS_DEFAULT_REGION: 'x' }), 'eu-west-1');
  t.equal(await resolveRegion({ AWS_REGION: '', AWS_DEFAULT_REGION: 'eu-west-2' }), 'eu-west-2');
});

t.test('what cannot be a region is none', async (t) => {
  const HOME = t.testdir({ '.aws': { config: '[default]\nregion = eu.west/1\n' } });
  for (const env of [{ AWS_REGION: 'eu_west_1' }, { ...NO_IMDS, HOME }]) {
    await t.rejects(resolveRegion(env), { code: 'ERR_REGION', message: /check AWS_REGION/ });
  }
});

t.test('the shared files say it', async (t) => {
  const HOME = t.testdir({
    '.aws': {
      config: '[default]\nregion = eu-west-3\n[profile node]\nregion = eu-south-1\n',
      credentials: '[other]\nregion = eu-south-2\n',
    },
    elsewhere: '[default]\nregion = me-south-1\n',
  });
  const env = { ...NO_IMDS, HOME };
  t.equal(await resolveRegion(env), 'eu-west-3');
  t.equal(await resolveRegion({ ...env, AWS_PROFILE: 'node' }), 'eu-south-1');
  t.equal(await resolveRegion({ ...env, AWS_PROFILE: 'other' }), 'eu-south-2');
  t.equal(await resolveRegion({ ...env, AWS_CONFIG_FILE: `${HOME}/elsewhere` }), 'me-south-1');
});

t.test('the instance says it', async (t) => {
  const imds = await startImds(t);
  const env = {
    HOME: t.testdir(),
    AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url,
    HTTP_PROXY: 'http://127.0.0.1:1',
  };
  t.equal(await resolveRegion(env), 'eu-north-1');
  t.match(imds.received, [
    { method: 'PUT', url: '/latest/api/token' },
    { method: 'GET', url: '/latest/meta-data/placement/region' },
  ]);
});

t.test('nobody says it', async (t) => {
  const imds = await startImds(t);
  const HOME = t.testdir();
  const env = { HOME, AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url };
  const problem = async (with_: Record<string, string> = env) => {
    const error = await resolveRegion(with_).catch((error: unknown) => error);
    t.match(error, { name: 'RegionError', code: 'ERR_REGION', message: /set AWS_REGION/ });
    return (error as Error).message;
  };
  t.match(await problem({ HOME, ...NO_IMDS }), 'switched off by AWS_EC2_METADATA_DISABLED');
  delete imds.instance.region;
  t.match(await problem(), 'answered 404 to GET /latest/meta-data/placement/region');
  imds.instance.region = '';
  t.match(await problem(), 'no region in its answer');
  imds.respond = (response) => response.destroy();
  t.match(await problem(), `127.0.0.1:${imds.port} socket hang up`);
  imds.respond = answerWith(200, 'x'.repeat(20_000));
  t.match(await problem(), 'answered more than 16384 bytes');
  t.match(
    await problem({ HOME, AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://127.0.0.1:1' }),
    'ECONNREFUSED',
  );
});

t.test('a silent service is given up after a second', async (t) => {
  const imds = await startImds(t);
  const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url };
  for (const respond of [
    () => undefined,
    (response: ServerResponse) => {
      response.writeHead(200, { 'content-length': '9' });
      response.write('half');
    },
  ]) {
    imds.respond = respond;
    const [clock, asked] = [new ManualClock(), imds.received.length];
    const given = t.rejects(
      readInstanceMetadata('/latest/meta-data/placement/region', env, clock),
      { code: 'ERR_INSTANCE_METADATA', message: /did not answer within 1000 ms/ },
    );
    await until(() => imds.received.length > asked, 'a request');
    await clock.advance(999);
    t.equal(clock.pending, 1, 'it may still come');
    await clock.advance(1);
    await given;
    await until(() => imds.sockets.size === 0, 'the end of the connection');
    t.equal(clock.pending, 0);
  }
});

t.test('a service that cannot be asked leaves nothing behind', async (t) => {
  const imds = await startImds(t);
  imds.respond = answerWith(200, 'a token\nof two lines');
  for (const [url, message] of [
    ['https://127.0.0.1:1', /^127\.0\.0\.1:1 cannot be asked: Protocol "https:" not supported/],
    ['not a URL', /AWS_EC2_METADATA_SERVICE_ENDPOINT is not a URL/],
    [imds.url, /cannot be asked: Invalid character in header content/],
  ] as const) {
    const clock = new ManualClock();
    await t.rejects(readInstanceMetadata('/', { AWS_EC2_METADATA_SERVICE_ENDPOINT: url }, clock), {
      code: 'ERR_INSTANCE_METADATA',
      message,
    });
    t.equal(clock.pending, 0);
  }
});
