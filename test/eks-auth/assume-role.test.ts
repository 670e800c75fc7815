import t from 'tap';
import { assumeRoleForPodIdentity } from '../../src/eks-auth/assume-role.ts';
import { createClient } from '../../src/eks-auth/create-client.ts';
import { createDispatcher } from '../../src/http/dispatcher.ts';
import { ANSWER, answerWith, startServer } from './eks-auth-server.ts';

const server = await startServer(t);
const dispatcher = createDispatcher();
t.teardown(() => dispatcher.destroy());
const client = createClient({
  region: 'eu-central-1',
  endpoint: server.url,
  dispatcher,
  credentials: () => ({ accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'example' }),
});
const input = { clusterName: 'c1', token: 'a.b.c' };

t.test('a complete answer', async (t) => {
  const role = await assumeRoleForPodIdentity(client, input);
  t.strictSame(role, {
    accessKeyId: 'ASIAEXAMPLE',
    secretAccessKey: 'example-secret',
    sessionToken: 'example-session-token',
    expiresAt: 1_900_000_000_000,
    subject: { namespace: 'shop', serviceAccount: 'cart' },
    audience: 'pods.eks.amazonaws.com',
    associationArn: 'arn:aws:eks:eu-central-1:111122223333:podidentityassociation/c1/a-1',
    associationId: 'a-1',
    assumedRoleArn: 'arn:aws:sts::111122223333:assumed-role/cart/eks-c1-cart-0-1b2c',
    assumedRoleId: 'AROAEXAMPLE:eks-c1-cart-0-1b2c',
    requestId: 'r-1',
  });
  t.strictSame(structuredClone(role), role);
});

t.test('fields that are not known do no harm', async (t) => {
  server.respond = answerWith(200, { ...ANSWER, somethingNew: { a: [1] } });
  t.match(await assumeRoleForPodIdentity(client, input), { associationId: 'a-1', requestId: '' });
});

/** The answer with one field set, or left out. */
function changed(path: string, value: unknown): unknown {
  const answer = structuredClone(ANSWER) as Record<string, unknown>;
  const names = path.split('.');
  const last = names.pop() as string;
  const parent = names.reduce((at, name) => at[name] as Record<string, unknown>, answer);
  parent[last] = value;
  return answer;
}

const FIELDS = [
  'credentials.accessKeyId',
  'credentials.secretAccessKey',
  'credentials.sessionToken',
  'subject.namespace',
  'subject.serviceAccount',
  'audience',
  'podIdentityAssociation.associationArn',
  'podIdentityAssociation.associationId',
  'assumedRoleUser.arn',
  'assumedRoleUser.assumeRoleId',
];

t.test('a field that is missing or unfit is named, its value is not', async (t) => {
  const unfit: [value: unknown, problem: RegExp][] = [
    [undefined, /is missing/],
    [null, /is missing/],
    ['', /is missing/],
    ['two words', /is not printable ASCII/],
    ['line\nbreak', /is not printable ASCII/],
    ['ümlaut', /is not printable ASCII/],
    ['x'.repeat(20_000), /is longer than \d+ characters/],
  ];
  for (const field of FIELDS) {
    for (const [value, problem] of unfit) {
      server.respond = answerWith(200, changed(field, value));
      const error = (await assumeRoleForPodIdentity(client, input).catch(
        (error: unknown) => error,
      )) as Error;
      t.match(error, { name: 'MalformedAnswerError', field, message: problem });
      t.notMatch(error.message, /two words|ümlaut|xxx/);
    }
  }
});

t.test('structures that are missing', async (t) => {
  for (const field of ['credentials', 'subject', 'podIdentityAssociation', 'assumedRoleUser']) {
    server.respond = answerWith(200, changed(field, undefined));
    await t.rejects(assumeRoleForPodIdentity(client, input), {
      name: 'MalformedAnswerError',
      field: new RegExp(`^${field}\\.`),
      message: /is missing/,
    });
  }
});

t.test('values of the wrong type are never let through', async (t) => {
  for (const field of [...FIELDS, 'credentials.expiration']) {
    for (const value of [{}, [], true, { toString: 'x' }]) {
      server.respond = answerWith(200, changed(field, value));
      await t.rejects(assumeRoleForPodIdentity(client, input), `${field} ${typeof value}`);
    }
  }
});

t.test('an expiry that is no time', async (t) => {
  for (const value of [undefined, null, 'soon', -5, 0, 1e300]) {
    server.respond = answerWith(200, changed('credentials.expiration', value));
    await t.rejects(assumeRoleForPodIdentity(client, input), String(value));
  }
  server.respond = answerWith(200, changed('credentials.expiration', 1_900_000_000.25));
  t.match(await assumeRoleForPodIdentity(client, input), { expiresAt: 1_900_000_000_250 });
});

t.test('a signal ends the call', async (t) => {
  const stop = new AbortController();
  server.respond = () => stop.abort(new Error('stopped'));
  await t.rejects(assumeRoleForPodIdentity(client, { ...input, signal: stop.signal }), {
    name: 'AbortError',
  });
});
