import t from 'tap';
import { NodeCredentialsError } from '../../src/eks-auth/failure.ts';
import type { NodeCredentials } from '../../src/eks-auth/node-credentials.ts';
import type { AssumeRoleOutcome, AssumeRoleTask } from '../../src/workers/assume-role.ts';
import { EksAuthCaller } from '../../src/workers/eks-auth-caller.ts';
import { transportEnvironment } from '../../src/workers/settings.ts';
import { settle } from '../support/manual-clock.ts';

const refused: AssumeRoleOutcome = {
  ok: false,
  failure: { kind: 'refused', code: 'ResourceNotFoundException', message: 'none', status: 404 },
};

/** The caller over threads, credentials and a region that answer as the test says. */
function setUp() {
  const tasks: AssumeRoleTask[] = [];
  const times: number[] = [];
  const asked = { region: 0, credentials: 0, refreshed: 0 };
  const answers = {
    outcome: refused,
    dies: undefined as Error | undefined,
    region: () => Promise.resolve('us-east-1'),
    loadingFrom: undefined as string | undefined,
    credentials: (): Promise<NodeCredentials> =>
      Promise.resolve({ accessKeyId: `key-${asked.refreshed}`, secretAccessKey: 'example' }),
  };
  const caller = new EksAuthCaller({
    workers: {
      assumeRole: async (task) => {
        tasks.push(task);
        if (answers.dies !== undefined) throw answers.dies;
        return answers.outcome;
      },
    },
    credentials: {
      get loadingFrom() {
        return answers.loadingFrom;
      },
      get: () => {
        asked.credentials += 1;
        return answers.credentials();
      },
      isCurrent: ({ accessKeyId }) => accessKeyId === `key-${asked.refreshed}`,
      refresh: () => {
        asked.refreshed += 1;
        return answers.credentials();
      },
    },
    region: () => {
      asked.region += 1;
      return answers.region();
    },
    onServiceTime: (time) => void times.push(time),
  });
  return { caller, tasks, times, asked, answers };
}

t.test('a call has the region and the credentials of its moment', async (t) => {
  const { caller, tasks, asked } = setUp();
  t.strictSame(await caller.assumeRole('a.b.c'), refused);
  t.strictSame(tasks, [
    {
      token: 'a.b.c',
      region: 'us-east-1',
      credentials: { accessKeyId: 'key-0', secretAccessKey: 'example' },
    },
  ]);
  await Promise.all([caller.assumeRole('x'), caller.assumeRole('y')]);
  t.equal(asked.region, 1, 'the region is found out once');
  t.equal(asked.credentials, 3, 'credentials are asked for each time; their keeper has them');
  t.equal(asked.refreshed, 0);
});

t.test('a region that cannot be found out is looked for again', async (t) => {
  const { caller, tasks, asked, answers } = setUp();
  answers.region = () => Promise.reject(new Error('set AWS_REGION'));
  t.match(await caller.assumeRole('a.b.c'), {
    ok: false,
    failure: { kind: 'node-credentials', code: 'NoRegion', message: 'set AWS_REGION' },
  });
  t.equal(tasks.length, 0);
  answers.region = () => Promise.resolve('eu-west-1');
  await caller.assumeRole('a.b.c');
  t.match(tasks, [{ region: 'eu-west-1' }]);
  t.equal(asked.region, 2);
});

t.test('credentials that cannot be had are no failure of the pod', async (t) => {
  const { caller, tasks, answers } = setUp();
  answers.credentials = () => Promise.reject(new NodeCredentialsError('no AWS credentials'));
  t.match(await caller.assumeRole('a.b.c'), {
    ok: false,
    failure: { kind: 'node-credentials', message: 'no AWS credentials' },
  });
  t.equal(tasks.length, 0);
});

t.test('credentials that EKS Auth does not accept are read anew', async (t) => {
  const { caller, tasks, asked, answers } = setUp();
  answers.outcome = {
    ok: false,
    failure: { kind: 'node-credentials', code: 'UnrecognizedClientException', message: '' },
  };
  t.strictSame(await caller.assumeRole('a.b.c'), answers.outcome, 'and this call has failed');
  t.equal(asked.refreshed, 1);
  answers.outcome = refused;
  await caller.assumeRole('a.b.c');
  t.match(tasks.at(-1), { credentials: { accessKeyId: 'key-1' } });
  t.equal(asked.refreshed, 1, 'other failures are no reason');
});

t.test('credentials that were replaced meanwhile are not read anew for it', async (t) => {
  const { caller, tasks, asked, answers } = setUp();
  answers.outcome = {
    ok: false,
    failure: { kind: 'node-credentials', code: 'ExpiredTokenException', message: '' },
  };
  // Both are signed with the same, and the first that is told has others loaded.
  const outcomes = await Promise.all([caller.assumeRole('a.b.c'), caller.assumeRole('d.e.f')]);
  t.match(tasks, [
    { credentials: { accessKeyId: 'key-0' } },
    { credentials: tasks[0]?.credentials },
  ]);
  t.match(outcomes, [
    { failure: { credentialsReplaced: undefined } },
    { failure: { code: 'ExpiredTokenException', credentialsReplaced: true } },
  ]);
  t.equal(asked.refreshed, 1);
});

t.test('threads that die under a call fail that call', async (t) => {
  const { caller, answers, asked } = setUp();
  answers.dies = new Error('worker exited with code: 7');
  t.match(await caller.assumeRole('a.b.c'), {
    ok: false,
    failure: { kind: 'service', code: 'WorkerFailed', message: /worker exited with code: 7/ },
  });
  t.equal(asked.refreshed, 0);
});

t.test('a refresh that fails ends nothing', async (t) => {
  const { caller, answers } = setUp();
  await caller.assumeRole('a.b.c');
  answers.outcome = {
    ok: false,
    failure: { kind: 'node-credentials', code: 'UnrecognizedClientException', message: '' },
  };
  const got = answers.credentials;
  let calls = 0;
  answers.credentials = () => {
    calls += 1;
    return calls === 1 ? got() : Promise.reject(new NodeCredentialsError('gone'));
  };
  t.match(await caller.assumeRole('a.b.c'), { failure: { code: 'UnrecognizedClientException' } });
  await settle();
  t.equal(calls, 2);
});

t.test("the service's time is passed on", async (t) => {
  const { caller, times, answers } = setUp();
  await caller.assumeRole('a.b.c');
  t.strictSame(times, []);
  answers.outcome = { ...refused, serviceTime: 1_234 };
  await caller.assumeRole('a.b.c');
  t.strictSame(times, [1_234]);
});

t.test('warming up asks once, and its failures come with the first call', async (t) => {
  const { caller, asked, answers } = setUp();
  answers.region = () => Promise.reject(new Error('set AWS_REGION'));
  answers.credentials = () => Promise.reject(new NodeCredentialsError('no AWS credentials'));
  caller.warmUp();
  await settle();
  t.strictSame(asked, { region: 1, credentials: 1, refreshed: 0 });
  t.match(await caller.assumeRole('a.b.c'), { ok: false });
});

t.test('threads get the variables of outgoing calls, and no others', async (t) => {
  t.strictSame(
    transportEnvironment({
      HTTPS_PROXY: 'http://proxy:3128',
      no_proxy: 'localhost',
      NO_PROXY: '',
      AWS_SECRET_ACCESS_KEY: 'example',
      PATH: '/bin',
    }),
    { HTTPS_PROXY: 'http://proxy:3128', no_proxy: 'localhost' },
  );
});

t.test('it says what calls wait for', async (t) => {
  const { caller, answers } = setUp();
  t.equal(caller.obstacle, undefined);
  const region = Promise.withResolvers<string>();
  answers.region = () => region.promise;
  answers.loadingFrom = 'instance metadata';
  caller.warmUp();
  t.match(caller.obstacle, {
    kind: 'node-credentials',
    code: 'NodeCredentialsPending',
    message: 'no AWS credentials on this node yet: waiting for instance metadata',
  });
  answers.loadingFrom = undefined;
  t.match(caller.obstacle, { kind: 'node-credentials', code: 'RegionPending' });
  region.reject(new Error('no region'));
  await settle();
  t.equal(caller.obstacle, undefined, 'a look-up that has failed is the failure of a call');
});
