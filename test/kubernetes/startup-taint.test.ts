import t, { type Test } from 'tap';
import type { ApiClient } from '../../src/kubernetes/api-client.ts';
import { removal, StartupTaint } from '../../src/kubernetes/startup-taint.ts';
import { RepeatedFaults } from '../../src/telemetry/repeated-faults.ts';
import { capturedLog } from '../support/captured-log.ts';
import { ManualClock } from '../support/manual-clock.ts';

const KEY = 'example.com/not-ready';

/** A node with taints of these keys. */
function node(version: string, ...keys: string[]) {
  return {
    kind: 'Node',
    metadata: { name: 'node-1', resourceVersion: version },
    spec: { taints: keys.map((key) => ({ key, effect: 'NoSchedule' })) },
  };
}

t.test('the patch takes off the taints of the key, and tests what it was made from', async (t) => {
  t.strictSame(removal(node('7', 'a', KEY, 'b', KEY), KEY), [
    { op: 'test', path: '/metadata/resourceVersion', value: '7' },
    { op: 'remove', path: '/spec/taints/3' },
    { op: 'remove', path: '/spec/taints/1' },
  ]);
  t.equal(removal(node('7', 'a', `${KEY}-2`), KEY), undefined);
  t.equal(removal({ metadata: { resourceVersion: '7' }, spec: {} }, KEY), undefined);
  t.equal(removal({ ...node('7'), spec: { taints: [null, 7, 'taint'] } }, KEY), undefined);
  for (const value of [null, 'node', {}, { metadata: { resourceVersion: 7 } }]) {
    t.throws(() => removal(value, KEY), { name: 'TransientError' });
  }
});

/** A node's API server, which answers these, one after the other. */
function keeping(answers: readonly (readonly [number, unknown] | Error)[]) {
  const clock = new ManualClock();
  const { log, lines } = capturedLog();
  const asked: string[] = [];
  const turn = async (what: string) => {
    asked.push(what);
    const answer = answers[asked.length - 1];
    if (answer === undefined) throw new Error('not expected');
    if (answer instanceof Error) throw answer;
    return { status: answer[0], headers: {}, body: Buffer.from(JSON.stringify(answer[1])) };
  };
  const client: Pick<ApiClient, 'get' | 'patch'> = {
    get: (path) => turn(`GET ${path}`),
    patch: (path) => turn(`PATCH ${path}`),
  };
  const faults = new RepeatedFaults(clock, log);
  // Pauses are half of what they may be.
  const options = { client, nodeName: 'node-1', key: KEY, clock, log, faults, random: () => 0 };
  const taint = new StartupTaint(options);
  const messages = () => lines.map(({ msg }) => msg);
  return { clock, lines, messages, asked, taint, kept: taint.keepOff() };
}

/** A node that lives in memory, as the API server has it. */
function living(t: Test, createdAt?: string) {
  const clock = new ManualClock();
  const { log, lines } = capturedLog();
  let version = 1;
  let taints: string[] = [];
  let looks = 0;
  const answer = (body: unknown, status = 200) => ({
    status,
    headers: {},
    body: Buffer.from(JSON.stringify(body)),
  });
  const client: Pick<ApiClient, 'get' | 'patch'> = {
    get: async () => {
      looks += 1;
      const made = node(String(version), ...taints);
      return answer({ ...made, metadata: { ...made.metadata, creationTimestamp: createdAt } });
    },
    patch: async (_path, steps) => {
      const [test, ...removals] = steps as { path: string; value?: string }[];
      if (test?.value !== String(version)) return answer({}, 422);
      for (const { path } of removals) taints.splice(Number(path.split('/').at(-1)), 1);
      version += 1;
      return answer({});
    },
  };
  const faults = new RepeatedFaults(clock, log);
  const taint = new StartupTaint({
    client,
    nodeName: 'node-1',
    key: KEY,
    clock,
    log,
    faults,
    random: () => 0,
  });
  t.teardown(() => taint.stop());
  void taint.keepOff();
  return {
    clock,
    messages: () => lines.map(({ msg }) => msg),
    taints: () => taints,
    looks: () => looks,
    give(...given: string[]) {
      version += 1;
      taints = given;
    },
  };
}

t.test('a conflict with another controller is begun anew', async (t) => {
  const { clock, messages, asked, taint } = keeping([
    [200, node('7', KEY)],
    [422, {}],
    [200, node('8', 'other', KEY)],
    [200, {}],
  ]);
  t.teardown(() => taint.stop());
  await clock.advance(1_000);
  t.strictSame(
    asked.map((what) => what.split(' ', 1)[0]),
    ['GET', 'PATCH', 'GET', 'PATCH'],
  );
  t.equal(messages().at(-1), 'start-up taint removed');
});

t.test('a taint that comes after the first look', async (t) => {
  const { clock, messages, taints, give } = living(t, '2026-01-01T00:00:00Z');
  await clock.advance(60_000);
  t.strictSame(messages(), ['the node has no start-up taint'], 'said once');
  give('other', KEY);
  await clock.advance(4_000);
  t.strictSame(taints(), ['other']);
  t.equal(messages().at(-1), 'start-up taint removed');
});

t.test('one that is put back is removed again, each time', async (t) => {
  const { clock, messages, taints, give } = living(t, '2026-01-01T00:00:00Z');
  for (let time = 0; time < 3; time++) {
    give(KEY);
    await clock.advance(4_000);
    t.strictSame(taints(), []);
  }
  await clock.advance(3_600_000);
  const [first, ...others] = messages();
  t.equal(first, 'the node has no start-up taint');
  t.strictSame(others, Array(3).fill('start-up taint removed'), 'and nothing else is said');
  give(KEY);
  await clock.advance(60_000);
  t.strictSame(taints(), [], 'also an hour later');
});

t.test('a new node is looked at closely for ten minutes, then once a minute', async (t) => {
  for (const createdAt of ['2026-01-01T00:00:00Z', undefined]) {
    const { clock, looks } = living(t, createdAt);
    await clock.advance(599_000);
    t.equal(looks(), 300, 'every two seconds, at most');
    await clock.advance(31_000);
    const before = looks();
    await clock.advance(300_000);
    t.equal(looks() - before, 10, 'every half minute, at most');
  }
});

t.test('a node of long ago is not: all nodes get a new version of the broker', async (t) => {
  const { clock, looks } = living(t, '2025-12-31T22:00:00Z');
  await clock.advance(299_000);
  t.equal(looks(), 10);
});

t.test('it goes on where it fails, ever more slowly, and can be stopped', async (t) => {
  const { clock, asked, lines, taint, kept } = keeping([
    new Error('ECONNREFUSED'),
    [403, {}],
    [200, 'no node'],
    new Error('ECONNREFUSED'),
  ]);
  await clock.advance(0);
  t.equal(asked.length, 1);
  await clock.advance(125);
  t.equal(asked.length, 2);
  await clock.advance(250);
  t.equal(asked.length, 3);
  await clock.advance(500);
  t.equal(asked.length, 4);
  taint.stop();
  await kept;
  await clock.advance(600_000);
  t.equal(asked.length, 4);
  t.match(lines[0], { level: 'warn', msg: 'the start-up taint cannot be removed now' });
});
