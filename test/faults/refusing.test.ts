import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import type { BrokerProcess } from '../support/broker-process.ts';
import {
  ask,
  askUntilGiven,
  holds,
  NAMESPACE,
  type Reply,
  roleOf,
  startCluster,
} from './cluster.ts';

// EKS Auth refuses: what it says of one token is held against that token alone, and not for long.

t.jobs = 6;

const cluster = await startCluster(t);
const { simulator } = cluster;
const broker = await cluster.broker();

/**
 * Asks over and over for a while, and does not wait for the answers: on a busy machine they are late.
 *
 * @returns The statuses in the order of the requests.
 */
async function pester(on: BrokerProcess, token: string, duration: number, every: number) {
  const replies: Promise<Reply>[] = [];
  const end = performance.now() + duration;
  while (performance.now() < end) {
    replies.push(ask(on, token));
    await pause(every);
  }
  return (await Promise.all(replies)).map(({ status }) => status);
}

t.test('no association: remembered for 1 s, doubling to 4 s', { buffered: true }, async (t) => {
  const { token } = cluster.pod('nobody');
  const first = await ask(broker, token);
  t.match(first, {
    status: 404,
    body: { code: 'ResourceNotFoundException', message: /No association found/ },
  });
  t.equal(first.headers['retry-after'], undefined, 'nothing to wait for');
  const statuses = await pester(broker, token, 9_000, 50);
  t.strictSame(new Set(statuses), new Set([404]));
  const calls = cluster.calls('nobody');
  const pauses = calls.slice(1).map(({ time }, index) => time - (calls[index]?.time as number));
  t.ok(statuses.length > 80, `asked ${statuses.length} times`);
  // At 0, 1, 3 and 7 s.
  t.equal(calls.length, 4, `pauses: ${pauses}`);
  for (const [index, least] of [1_000, 2_000, 4_000].entries()) {
    t.ok((pauses[index] as number) >= least - 20, `then ${pauses[index]} ms`);
  }
});

t.test('a role that may not be assumed', { buffered: true }, async (t) => {
  cluster.associate('untrusted');
  simulator.roles.put(roleOf('untrusted'), { Version: '2012-10-17', Statement: [] });
  const { token } = cluster.pod('untrusted');
  t.match(await ask(broker, token), {
    status: 400,
    body: { code: 'AccessDeniedException', message: /do(es)? not have permissions to assume/ },
  });
  const statuses = await pester(broker, token, 2_500, 50);
  t.strictSame(new Set(statuses), new Set([400]));
  t.ok(cluster.calls('untrusted').length <= 3);
  simulator.roles.put(roleOf('untrusted'));
  const reply = await askUntilGiven(broker, token, { within: 5_000, every: 100 });
  t.equal(reply.status, 200, `allowed ${Math.round(reply.took)} ms later`);
});

t.test('an association works within 5 s of being visible', { buffered: true }, async (t) => {
  const { token } = cluster.pod('late');
  // Long enough for the refusals to be remembered for as long as they ever are.
  await pester(broker, token, 3_500, 100);
  cluster.associate('late');
  const reply = await askUntilGiven(broker, token, { within: 5_000, every: 100 });
  t.equal(reply.status, 200, `${Math.round(reply.took)} ms later`);
});

t.test(
  'one that appears before the first pod is heard of at once',
  { buffered: true },
  async (t) => {
    const { token } = cluster.pod('fresh');
    t.equal((await ask(broker, token)).status, 404);
    cluster.associate('fresh');
    // A Go client asks once; a pod that starts a moment later is not held back by its neighbour.
    await pause(1_000);
    t.equal((await ask(broker, cluster.pod('fresh').token)).status, 200);
  },
);

t.test("a refusal of one pod is not its neighbours'", { buffered: true }, async (t) => {
  cluster.associate('neighbours');
  const [refused, other, third] = [1, 2, 3].map(() => cluster.pod('neighbours'));
  if (refused === undefined || other === undefined || third === undefined) throw new Error();
  for (const { name } of [refused, other]) {
    simulator.faults.add({
      kind: 'error',
      code: 'ResourceNotFoundException',
      status: 404,
      pod: name,
    });
  }
  t.equal((await ask(broker, refused.token)).status, 404);
  const started = performance.now();
  const replies = await Promise.all([
    ask(broker, refused.token),
    ask(broker, other.token),
    ask(broker, third.token),
  ]);
  t.equal(replies[0].status, 404, 'its own refusal stands');
  const ofTheThird = await askUntilGiven(broker, third.token, { within: 4_000, every: 100 });
  t.equal(ofTheThird.status, 200, 'another pod is tried');
  const calls = cluster.calls('neighbours');
  for (const [index, { time }] of calls.slice(1).entries()) {
    t.ok(time - (calls[index]?.time as number) >= 980, 'one token a second');
  }
  t.ok(calls.length <= 1 + Math.ceil((performance.now() - started) / 1_000) + 1);
  t.equal((await ask(broker, refused.token)).status, 200, 'what is there is there for all');
  t.not(replies[2].status, 404, "nobody hears another pod's refusal");
});

t.test('a crowd of refused pods is one call a second', { buffered: true }, async (t) => {
  const tokens = Array.from({ length: 40 }, () => cluster.pod('crowd').token);
  const started = performance.now();
  const replies = (
    await Promise.all(
      tokens.map(async (token) => [await ask(broker, token), await ask(broker, token)]),
    )
  ).flat();
  const seconds = (performance.now() - started) / 1_000;
  t.ok(replies.every(({ status }) => status === 404 || status === 503));
  t.ok(
    cluster.calls('crowd').length <= seconds + 2,
    `${cluster.calls('crowd').length} calls in ${seconds.toFixed(1)} s`,
  );
});

for (const [code, message] of [
  ['InvalidTokenException', 'The service account token is not valid.'],
  ['ExpiredTokenException', 'The service account token is expired.'],
] as const) {
  t.test(`${code}: the next token is tried`, { buffered: true }, async (t) => {
    // Sessions are renewed 2 s after they were fetched, with the token that lives longest.
    const young = await cluster.broker({
      t,
      args: ['--max-credential-retention-before-renewal=2s'],
    });
    const account = `${code.toLowerCase()}-of`;
    cluster.associate(account);
    const pods = [1, 2].map(() => cluster.pod(account));
    const [first, second] = pods.map(({ token }) => token) as [string, string];
    const before = await ask(young, first);
    t.equal((await ask(young, second)).status, 200);
    // Whichever is tried first is called spent, once.
    const fault = simulator.faults.add({
      kind: 'error',
      code,
      status: 400,
      message,
      serviceAccount: account,
      calls: 1,
    });
    const renewed = () => cluster.calls(account).length >= 3;
    t.ok(
      await holds(async () => {
        // Every answer on the way is credentials.
        for (const token of [first, second]) {
          const { status } = await ask(young, token);
          if (status !== 200) t.fail(`answered ${status}`);
        }
        return renewed();
      }, 6_000),
      'renewed with the other token',
    );
    simulator.faults.clear(fault);
    const calls = cluster.calls(account);
    t.strictSame(
      calls.slice(0, 3).map(({ status }) => status),
      [200, 400, 200],
    );
    t.not(calls[1]?.pod, calls[2]?.pod, 'with a token of another pod');
    t.ok((calls[2]?.time as number) - (calls[1]?.time as number) < 500, 'at once');
    // The call was recorded where it was answered; the broker has yet to take the answer in.
    const replaced = async () => {
      const after = await ask(young, first);
      t.match(after, { status: 200, body: { AccessKeyId: /./ } });
      return after.body.AccessKeyId !== before.body.AccessKeyId;
    };
    t.ok(await holds(replaced, 5_000), 'and its credentials are served');
  });
}

t.test('the only token is called spent', { buffered: true }, async (t) => {
  cluster.associate('spent');
  const { name, token } = cluster.pod('spent');
  simulator.faults.add({
    kind: 'error',
    code: 'InvalidTokenException',
    status: 400,
    message: 'The service account token is not valid.',
    pod: name,
  });
  t.match(await ask(broker, token), { status: 400, body: { code: 'InvalidTokenException' } });
  const statuses = await pester(broker, token, 2_500, 50);
  t.strictSame(new Set(statuses), new Set([400]));
  t.ok(cluster.calls('spent').length <= 3, `${cluster.calls('spent').length} calls`);
  t.equal((await ask(broker, cluster.pod('spent').token)).status, 200, "a neighbour's is good");
  t.equal((await ask(broker, token)).status, 200, 'and the session is for both');
});

t.test('a role that changes, and an association that goes', { buffered: true }, async (t) => {
  const young = await cluster.broker({
    t,
    args: ['--max-credential-retention-before-renewal=1s'],
  });
  cluster.associate('changing');
  const { token } = cluster.pod('changing');
  t.equal((await ask(young, token)).status, 200);
  const [association] = simulator.associations.list({
    namespace: NAMESPACE,
    serviceAccount: 'changing',
  });
  const id = association?.associationId as string;
  simulator.associations.update(id, { roleArn: roleOf('changed') });
  const roles = async () => {
    await ask(young, token);
    return cluster.calls('changing').at(-1)?.assumedRoleArn ?? '';
  };
  t.ok(await holds(async () => /\/changed\//.test(await roles()), 4_000), 'the next renewal');
  simulator.associations.delete(id);
  t.ok(
    await holds(async () => (await ask(young, token)).status === 404, 6_000),
    'gone with the renewal after',
  );
  t.match(await young.logged(({ msg }) => /^session ended/.test(msg)), {
    serviceAccount: 'changing',
    code: 'ResourceNotFoundException',
  });
});
