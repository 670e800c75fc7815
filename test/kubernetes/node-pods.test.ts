import fc from 'fast-check';
import t from 'tap';
import { NodePods } from '../../src/kubernetes/node-pods.ts';
import type { PodFacts } from '../../src/kubernetes/pod.ts';
import { podFacts } from './pods.ts';

function table(most?: number) {
  const left: string[] = [];
  const pods = new NodePods({ onLeft: ({ name }) => void left.push(name), most });
  return { pods, left };
}

t.test('a pod from its coming to its going', async (t) => {
  const { pods, left } = table();
  pods.put(podFacts('a'));
  t.equal(pods.size, 1);
  t.equal(pods.hasLive('shop', 'cart'), true);
  t.equal(pods.hasLive('shop', 'till'), false);
  t.equal(pods.hasLive('other', 'cart'), false);
  const before = pods.find('uid-of-a')?.basis;
  pods.put(podFacts('a', { addresses: ['10.0.0.1', 'fd00::1'] }));
  t.equal(before?.current, false, 'what was judged before is judged anew');
  t.equal(pods.holder('10.0.0.1')?.facts.name, 'a');
  t.equal(pods.holder('fd00::1')?.facts.name, 'a');
  pods.put(podFacts('a', { addresses: ['10.0.0.1', 'fd00::1'], deleting: true }));
  t.equal(pods.holder('10.0.0.1')?.facts.name, 'a', 'terminating: still there');
  t.strictSame(left, []);
  pods.remove('uid-of-a');
  t.strictSame(left, ['a']);
  t.equal(pods.holder('10.0.0.1'), undefined);
  t.equal(pods.hasLive('shop', 'cart'), false);
  t.equal(pods.hasLeft('uid-of-a'), true);
});

t.test('a pod that ends has left, once', async (t) => {
  const { pods, left } = table();
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  pods.put(podFacts('a', { addresses: ['10.0.0.1'], finished: true }));
  t.strictSame(left, ['a']);
  t.equal(pods.hasLive('shop', 'cart'), false);
  t.equal(pods.holder('10.0.0.1'), undefined, 'its address may be the next one’s');
  pods.remove('uid-of-a');
  t.strictSame(left, ['a']);
});

t.test('what is no news changes nothing', async (t) => {
  const { pods } = table();
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  const { basis } = pods;
  const own = pods.find('uid-of-a')?.basis;
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  t.equal(basis.current, true);
  t.equal(own?.current, true);
  pods.put(podFacts('b'));
  t.equal(basis.current, false);
  t.equal(own?.current, true, 'another pod is none of its business');
});

t.test('an address that two pods have published', async (t) => {
  const address = { addresses: ['10.0.0.1'] };
  const { pods } = table();
  pods.put(podFacts('old', { ...address, deleting: true, createdAt: 5 }));
  const basis = pods.find('uid-of-old')?.basis;
  pods.put(podFacts('new', { ...address, createdAt: 5 }));
  t.equal(pods.holder('10.0.0.1')?.facts.name, 'new', 'the one that is not going');
  t.equal(basis?.current, false, 'what the other was judged by is not current');
  pods.put(podFacts('newest', { ...address, createdAt: 9 }));
  t.equal(pods.holder('10.0.0.1')?.facts.name, 'newest');
  pods.remove('uid-of-newest');
  t.equal(pods.holder('10.0.0.1')?.facts.name, 'new');
  pods.remove('uid-of-new');
  t.equal(pods.holder('10.0.0.1')?.facts.name, 'old');
});

t.test('host-network pods hold no address', async (t) => {
  const { pods } = table();
  pods.put(podFacts('a', { addresses: ['10.0.0.1'], hostNetwork: true }));
  t.equal(pods.holder('10.0.0.1'), undefined);
});

t.test('a new list', async (t) => {
  const { pods, left } = table();
  for (const name of ['a', 'b']) pods.put(podFacts(name));
  const listed = [podFacts('b'), podFacts('c')].map((facts) => [facts.uid, facts] as const);
  pods.replace(new Map(listed));
  t.strictSame(left, ['a']);
  t.equal(pods.find('uid-of-c')?.facts.name, 'c');
  t.equal(pods.hasLeft('uid-of-a'), false, 'the list may be older than the pod');

  pods.remove('uid-of-b');
  pods.replace(new Map(listed));
  t.equal(pods.find('uid-of-b'), undefined, 'or than the end of one that is in it');
  t.equal(pods.find('uid-of-c')?.facts.name, 'c');
});

t.test('a late answer does not bring back what has gone', async (t) => {
  const { pods } = table();
  pods.put(podFacts('a'));
  pods.remove('uid-of-a');
  t.equal(pods.putIfNew(podFacts('a')), false);
  t.equal(pods.find('uid-of-a'), undefined);
  t.equal(pods.putIfNew(podFacts('b')), true);
  t.equal(pods.putIfNew(podFacts('b', { finished: true })), false, 'the watch knows better');
  for (let number = 0; number < 1_500; number += 1) pods.remove(`uid-${number}`);
  t.equal(pods.hasLeft('uid-of-a'), false, 'memory is bounded');
});

t.test('pods are bounded', async (t) => {
  const { pods } = table(2);
  for (const name of ['a', 'b', 'c']) pods.put(podFacts(name));
  t.equal(pods.size, 2);
  pods.put(podFacts('b', { finished: true }));
  t.equal(pods.find('uid-of-b')?.facts.finished, true, 'those that are known are kept up to date');
});

t.test('whatever happens, an address is held by the one that it belongs to', async () => {
  const names = fc.constantFrom('a', 'b', 'c', 'd');
  const addresses = fc.subarray(['10.0.0.1', '10.0.0.2', 'fd00::1']);
  const step = fc.record({
    name: names,
    gone: fc.boolean(),
    addresses,
    createdAt: fc.integer({ min: 0, max: 2 }),
    hostNetwork: fc.boolean(),
    finished: fc.boolean(),
    deleting: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { pods } = table();
      const truth = new Map<string, PodFacts>();
      let lives = 0;
      for (const { name, gone, ...change } of steps) {
        // When a pod was made and how it is connected never changes.
        // And who is gone does not come back: another has its name.
        const before = truth.get(name);
        lives += 1;
        const {
          createdAt = change.createdAt,
          hostNetwork = change.hostNetwork,
          uid = `${name}-${lives}`,
        } = before ?? {};
        const facts = podFacts(name, { ...change, createdAt, hostNetwork, uid });
        if (gone) {
          truth.delete(name);
          if (before !== undefined) pods.remove(facts.uid);
        } else {
          truth.set(name, facts);
          pods.put(facts);
        }
        for (const address of ['10.0.0.1', '10.0.0.2', 'fd00::1']) {
          const [holder] = [...truth.values()]
            .filter((one) => !one.hostNetwork && !one.finished && one.addresses.includes(address))
            .sort(
              (a, b) =>
                Number(a.deleting) - Number(b.deleting) ||
                b.createdAt - a.createdAt ||
                (a.uid < b.uid ? 1 : -1),
            );
          if (pods.holder(address)?.facts.uid !== holder?.uid) return false;
        }
      }
      return pods.size === truth.size;
    }),
  );
});
