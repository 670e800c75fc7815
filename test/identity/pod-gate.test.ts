import t from 'tap';
import { podFacts } from '../kubernetes/pods.ts';

import { NODE_ADDRESS, setUp } from './gate-harness.ts';

t.test('a pod is served from its own addresses, and from memory', async (t) => {
  const { pods, bearer, ask, findings, asked } = setUp();
  pods.put(podFacts('a', { addresses: ['10.0.0.1', 'fd00::1'] }));
  const a = bearer('a');
  t.equal(await ask(a, '10.0.0.1'), 'hit');
  t.equal(a.admission?.address, '10.0.0.1');
  t.equal(await ask(a, '::ffff:10.0.0.1'), 'hit', 'mapped into IPv6');
  t.equal(await ask(a, 'fd00::1'), 'hit');
  t.strictSame(findings, []);
  t.strictSame(asked, []);
});

t.test("a token is refused from another pod's address, and from the node's", async (t) => {
  const { pods, bearer, ask, findings, lines } = setUp();
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  pods.put(podFacts('b', { addresses: ['10.0.0.2'] }));
  const a = bearer('a');
  t.equal(await ask(a, '10.0.0.1'), 'hit');
  t.equal(await ask(a, '10.0.0.2'), 'wrong-address');
  t.equal(await ask(a, NODE_ADDRESS), 'wrong-address');
  t.equal(await ask(a, '10.0.0.1'), 'hit', 'the pod itself is served all the same');
  t.strictSame(findings, ['wrong-address', 'wrong-address'], 'each is counted once');
  t.strictSame(
    lines.map(({ level, msg, address, pod }) => ({ level, msg, address, pod })),
    [
      {
        level: 'warn',
        msg: "request refused: the request does not come from an address of the token's pod",
        address: '10.0.0.2',
        pod: 'a',
      },
    ],
    'and what repeats is summed up',
  );
});

t.test('a host-network pod is served from the addresses of the node alone', async (t) => {
  const { pods, bearer, ask } = setUp();
  pods.put(podFacts('host', { hostNetwork: true, addresses: [NODE_ADDRESS] }));
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  const host = bearer('host');
  t.equal(await ask(host, NODE_ADDRESS), 'hit');
  t.equal(await ask(host, '10.0.0.1'), 'wrong-address');
  t.equal(await ask(host, '10.9.9.9'), 'wrong-address');
});

t.test('a pod that has published no address is judged by its life alone', async (t) => {
  const { pods, bearer, ask, findings, api } = setUp();
  api.answer = async () => ({ kind: 'pod', facts: podFacts('new') });
  pods.put(podFacts('new'));
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  const fresh = bearer('new');
  t.equal(await ask(fresh, '10.0.0.7'), 'hit');
  t.equal(await ask(fresh, '10.0.0.1'), 'wrong-address', 'but not from one that is taken');
  t.equal(await ask(fresh, NODE_ADDRESS), 'wrong-address');
  pods.put(podFacts('new', { addresses: ['10.0.0.8'] }));
  t.equal(await ask(fresh, '10.0.0.8'), 'hit');
  t.equal(await ask(fresh, '10.0.0.7'), 'hit', 'an address that nobody has');
  t.strictSame(findings, ['wrong-address', 'wrong-address', 'unknown-address']);
  pods.put(podFacts('c', { addresses: ['10.0.0.7'] }));
  t.equal(await ask(fresh, '10.0.0.7'), 'wrong-address', 'until somebody has it');
});

t.test('an address that no pod has: counted, refused where that is asked for', async (t) => {
  const lenient = setUp();
  lenient.pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  const a = lenient.bearer('a');
  for (let time = 0; time < 3; time += 1) t.equal(await lenient.ask(a, '169.254.172.9'), 'hit');
  t.strictSame(lenient.findings, ['unknown-address'], 'once, not with every hit');
  t.match(lenient.lines, [{ level: 'info', finding: 'unknown-address' }]);

  const strict = setUp({ strict: true });
  strict.pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  t.equal(await strict.ask(strict.bearer('a'), '169.254.172.9'), 'unknown-address');
  t.equal(await strict.ask(strict.bearer('a'), undefined), 'unknown-address');
  t.equal(await strict.ask(strict.bearer('a'), '10.0.0.1'), 'hit');
});

t.test('a token dies with its pod', async (t) => {
  const { pods, bearer, ask, findings, asked } = setUp();
  const addresses = ['10.0.0.1'];
  pods.put(podFacts('a', { addresses }));
  const a = bearer('a');
  t.equal(await ask(a, '10.0.0.1'), 'hit');
  pods.put(podFacts('a', { addresses, deleting: true }));
  t.equal(await ask(a, '10.0.0.1'), 'hit', 'terminating: until it is gone');
  pods.put(podFacts('a', { addresses, deleting: true, finished: true }));
  t.equal(await ask(a, '10.0.0.1'), 'not-live');
  pods.remove('uid-of-a');
  t.equal(await ask(a, '10.0.0.1'), 'not-on-node');
  t.strictSame(findings, ['not-live', 'not-on-node']);
  t.strictSame(asked, [], 'nobody has to be asked about what was seen to go');
});

t.test('a pod that the watch has not told of is asked for', async (t) => {
  const { pods, bearer, ask, api, asked } = setUp();
  api.answer = async () => ({ kind: 'pod', facts: podFacts('a', { addresses: ['10.0.0.1'] }) });
  const a = bearer('a');
  t.equal(await ask(a, '10.0.0.1'), 'judged');
  t.equal(await ask(a, '10.0.0.1'), 'hit');
  t.strictSame(asked, ['a'], 'once');
  t.equal(pods.size, 1);
  t.equal(await ask(a, '10.0.0.9'), 'hit', 'and is judged as all others are');

  api.answer = async () => ({ kind: 'pod', facts: podFacts('b', { node: 'node-2' }) });
  t.equal(await ask(bearer('b'), '10.0.0.1'), 'not-on-node', 'a pod of another node');
  api.answer = async () => ({ kind: 'absent' });
  t.equal(await ask(bearer('c'), '10.0.0.1'), 'not-on-node', 'a pod that is no more');
  t.equal(pods.size, 1);
});

t.test('what the watch tells meanwhile counts for more than the answer', async (t) => {
  const { pods, bearer, ask, api } = setUp();
  api.answer = async () => {
    pods.put(podFacts('a'));
    pods.remove('uid-of-a');
    return { kind: 'pod', facts: podFacts('a') };
  };
  t.equal(await ask(bearer('a'), '10.0.0.1'), 'not-on-node');
  t.equal(pods.size, 0);
  api.answer = async () => {
    pods.put(podFacts('b', { addresses: ['10.0.0.2'] }));
    return { kind: 'absent' };
  };
  t.equal(await ask(bearer('b'), '10.0.0.2'), 'judged');
});

t.test('the API server is away: the signature alone decides, for a moment', async (t) => {
  const { clock, pods, gate, bearer, ask, api, asked, findings } = setUp();
  api.answer = async () => ({ kind: 'away' });
  const a = bearer('a');
  t.equal(await ask(a, '10.0.0.1'), 'judged');
  t.strictSame(findings, ['unchecked']);
  t.equal(await ask(a, '10.0.0.1'), 'hit');
  t.equal(await gate.judge(a, '10.0.0.1'), undefined);
  t.strictSame(findings, ['unchecked'], 'a request that waits and tries again is counted once');
  t.equal(await ask(a, '10.0.0.2'), 'judged', 'from another address: another judgement');
  await clock.advance(2_000);
  api.answer = async () => ({ kind: 'absent' });
  t.equal(await ask(a, '10.0.0.2'), 'not-on-node', 'and is found out when it is back');
  t.equal(asked.length, 3);

  const b = bearer('b');
  api.answer = async () => ({ kind: 'away' });
  t.equal(await ask(b, '10.0.0.1'), 'judged');
  pods.put(podFacts('b', { addresses: ['10.0.0.2'] }));
  t.equal(await ask(b, '10.0.0.1'), 'hit', 'the watch tells: an address that nobody has');
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  t.equal(await ask(b, '10.0.0.1'), 'wrong-address');
});

t.test('requests wait for the first list, for a moment', async (t) => {
  const listed = Promise.withResolvers<void>();
  const first = setUp({ firstList: listed.promise });
  const waiting = first.ask(first.bearer('a'), '10.0.0.1');
  first.pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  listed.resolve();
  t.equal(await waiting, 'judged');
  t.strictSame(first.asked, []);

  const never = setUp({ firstList: new Promise(() => undefined) });
  const asked = never.ask(never.bearer('a'), '10.0.0.1');
  await never.clock.advance(500);
  t.equal(await asked, 'not-on-node');
  t.strictSame(never.asked, ['a']);
});
