import t from 'tap';
import type { PodFacts } from '../../src/kubernetes/pod.ts';
import type { LookupResult } from '../../src/kubernetes/pod-lookup.ts';
import { podFacts } from '../kubernetes/pods.ts';

import { setUp } from './gate-harness.ts';

t.test('a new pod has the address of one that is being taken away', async (t) => {
  const { pods, bearer, ask, findings, asked, api } = setUp();
  const address = { addresses: ['10.0.0.1'] };
  api.answer = async ({ pod }) => ({
    kind: 'pod',
    facts: podFacts(pod, { ...address, deleting: pod === 'old' }),
  });
  pods.put(podFacts('old', { ...address, deleting: true }));
  pods.put(podFacts('new'));
  pods.put(podFacts('other', { addresses: ['10.0.0.2'] }));
  t.equal(await ask(bearer('new'), '10.0.0.1'), 'hit', 'before it has published it');
  t.equal(await ask(bearer('old'), '10.0.0.1'), 'hit', 'and so has that one, until it is gone');
  t.equal(await ask(bearer('other'), '10.0.0.1'), 'wrong-address', 'but none with another address');
  t.strictSame(findings, ['wrong-address']);
  t.strictSame(asked, []);
  pods.put(podFacts('new', address));
  t.equal(await ask(bearer('old'), '10.0.0.1'), 'wrong-address', 'then it is its own');
});

t.test('a pod without an address is asked about before it is refused', async (t) => {
  const { clock, pods, bearer, ask, asked, api, findings } = setUp();
  // Its address was another's until a moment ago, and the watch is behind in both.
  pods.put(podFacts('old', { addresses: ['10.0.0.1'] }));
  pods.put(podFacts('new'));
  const fresh = bearer('new');
  let answer: LookupResult = { kind: 'pod', facts: podFacts('new') };
  const old: LookupResult = {
    kind: 'pod',
    facts: podFacts('old', { addresses: ['10.0.0.1'] }),
  };
  api.answer = async ({ pod }) => (pod === 'new' ? answer : old);
  t.equal(await ask(fresh, '10.0.0.1'), 'wrong-address');
  t.equal(await ask(fresh, '10.0.0.1'), 'wrong-address');
  t.strictSame(asked, ['new', 'old'], 'once a second, and so is the one that has the address');
  await clock.advance(1_000);
  answer = { kind: 'pod', facts: podFacts('new', { addresses: ['10.0.0.1'] }) };
  t.equal(await ask(fresh, '10.0.0.1'), 'judged', 'it has published it');
  t.equal(await ask(fresh, '10.0.0.1'), 'hit');
  t.strictSame(asked, ['new', 'old', 'new']);
  t.equal(await ask(bearer('old'), '10.0.0.1'), 'wrong-address', 'which is nobody else’s then');
  t.strictSame(findings, ['wrong-address', 'wrong-address', 'wrong-address']);

  pods.put(podFacts('gone'));
  api.answer = async () => ({ kind: 'absent' });
  t.equal(await ask(bearer('gone'), '10.0.0.1'), 'not-on-node');
  t.equal(pods.find('uid-of-gone'), undefined);
});

t.test('an address that several pods have published', async (t) => {
  const { clock, pods, bearer, ask, asked, api, findings } = setUp();
  const address = { addresses: ['10.0.0.1'] };
  const told = new Map<string, PodFacts>();
  const put = (facts: PodFacts) => {
    told.set(facts.name, facts);
    pods.put(facts);
  };
  api.answer = async ({ pod }) => ({ kind: 'pod', facts: told.get(pod) as PodFacts });
  put(podFacts('old', { addresses: ['10.0.0.9'] }));
  put(podFacts('young', address));
  const [old, young] = [bearer('old'), bearer('young')];
  t.equal(await ask(young, '10.0.0.1'), 'hit');
  // The sandbox of the younger one has ended. Its address goes to the older one, whose sandbox was
  // started anew, before the kubelet has written anything about the younger one again.
  put(podFacts('old', address));
  t.equal(await ask(old, '10.0.0.1'), 'hit');
  t.strictSame(findings, []);
  t.equal(await ask(young, '10.0.0.1'), 'wrong-address', 'which had it before');
  t.strictSame(asked, ['young', 'old'], 'both are asked about first');
  t.equal(await ask(young, '10.0.0.1'), 'wrong-address');
  t.equal(asked.length, 2, 'once a second');
  t.equal(await ask(old, '10.0.0.1'), 'hit');
  await clock.advance(1_000);
  told.set('old', podFacts('old', { addresses: ['10.0.0.9'] }));
  t.equal(
    await ask(young, '10.0.0.1'),
    'judged',
    'it is its own if the other one’s is out of date',
  );

  const listed = setUp();
  const both = ['a', 'b'].map((name) => podFacts(name, address));
  listed.pods.replace(new Map(both.map((facts) => [facts.uid, facts])));
  for (const name of ['a', 'b']) {
    const found = await listed.ask(listed.bearer(name), '10.0.0.1');
    t.equal(found, 'hit', 'a list does not say who has published it last');
  }
  t.strictSame(listed.findings, []);
});

t.test('a pod without an address is not refused because of what is out of date', async (t) => {
  const { pods, bearer, ask, asked, api } = setUp();
  pods.put(podFacts('old', { addresses: ['10.0.0.1'] }));
  pods.put(podFacts('new'));
  const addresses = ['10.0.0.9'];
  api.answer = async ({ pod }) => ({
    kind: 'pod',
    facts: podFacts(pod, pod === 'old' ? { addresses } : {}),
  });
  t.equal(await ask(bearer('new'), '10.0.0.1'), 'judged');
  t.strictSame(asked, ['new', 'old']);
  api.answer = async () => ({ kind: 'away' });
  t.equal(await ask(bearer('new'), '10.0.0.9'), 'wrong-address', 'but because of what is not');
});

t.test('while the watch is cut, a pod is asked about before it is refused', async (t) => {
  const { clock, pods, bearer, ask, asked, api, watch, findings } = setUp();
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  pods.put(podFacts('b', { addresses: ['10.0.0.2'] }));
  watch.connected = false;
  api.answer = async ({ pod }) => ({
    kind: 'pod',
    facts: podFacts(pod, { addresses: ['10.0.0.3'] }),
  });
  t.equal(await ask(bearer('a'), '10.0.0.1'), 'hit', 'what is known of it does');
  t.strictSame(asked, []);
  t.equal(await ask(bearer('a'), '10.0.0.2'), 'wrong-address', 'and the answer says so too');
  t.equal(await ask(bearer('a'), '10.0.0.3'), 'hit', 'from where it says that it is');
  t.strictSame(asked, ['a']);

  api.answer = async () => ({ kind: 'away' });
  t.equal(await ask(bearer('b'), '10.0.0.3'), 'wrong-address', 'else by what was last known');
  t.strictSame(findings, ['wrong-address', 'wrong-address']);

  pods.put(podFacts('new'));
  const fresh = bearer('new');
  t.equal(await ask(fresh, '10.0.0.3'), 'judged', 'with no address known, by its signature');
  t.equal(findings.at(-1), 'unchecked');
  t.equal(await ask(fresh, '10.0.0.3'), 'hit');
  api.answer = async () => ({ kind: 'pod', facts: podFacts('new', { addresses: ['10.0.0.4'] }) });
  await clock.advance(2_000);
  t.equal(await ask(fresh, '10.0.0.3'), 'wrong-address', 'for two seconds');
});

t.test('what the watch tells meanwhile is later than an answer', async (t) => {
  const { pods, bearer, ask, api } = setUp();
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  pods.put(podFacts('new'));
  api.answer = async () => {
    pods.put(podFacts('new', { addresses: ['10.0.0.8'] }));
    return { kind: 'pod', facts: podFacts('new', { addresses: ['10.0.0.1'] }) };
  };
  t.equal(await ask(bearer('new'), '10.0.0.1'), 'wrong-address');
  t.strictSame(pods.find('uid-of-new')?.facts.addresses, ['10.0.0.8']);
});
