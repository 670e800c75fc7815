import t from 'tap';
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
    t.throws(() => removal(value, KEY), { name: 'TryAgainError' });
  }
});

/** Lifts the taint off a node whose API server answers these, one after the other. */
function lifting(answers: readonly (readonly [number, unknown] | Error)[]) {
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
  const options = { client, nodeName: 'node-1', key: KEY, clock, log, faults, random: () => 0 };
  const taint = new StartupTaint(options);
  return { clock, lines, asked, taint, lifted: taint.lift() };
}

t.test('a conflict with another controller is begun anew', async (t) => {
  const { clock, lines, asked, lifted } = lifting([
    [200, node('7', KEY)],
    [422, {}],
    [200, node('8', 'other', KEY)],
    [200, {}],
  ]);
  await clock.advance(1_000);
  await lifted;
  t.strictSame(
    asked.map((what) => what.split(' ', 1)[0]),
    ['GET', 'PATCH', 'GET', 'PATCH'],
  );
  t.equal(lines.at(-1)?.msg, 'start-up taint removed');
});

t.test('a taint that is not there', async (t) => {
  const { asked, lines, lifted } = lifting([[200, node('7', 'other')]]);
  await lifted;
  t.equal(asked.length, 1);
  t.match(lines, [{ msg: 'the node has no start-up taint', node: 'node-1', key: KEY }]);
});

t.test('it goes on until it is done, ever more slowly, and can be stopped', async (t) => {
  const { clock, asked, lines, taint, lifted } = lifting([
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
  await lifted;
  await clock.advance(600_000);
  t.equal(asked.length, 4);
  t.match(lines[0], { level: 'warn', msg: 'the start-up taint cannot be removed now' });
});
