import fc from 'fast-check';
import t from 'tap';
import { NodePods } from '../../src/kubernetes/node-pods.ts';
import type { PodFacts } from '../../src/kubernetes/pod.ts';
import { podFacts } from './pods.ts';

function table(maxPods?: number) {
  const left: string[] = [];
  const pods = new NodePods({ onLeft: ({ name }) => void left.push(name), maxPods });
  /** The names of those that an address belongs to. */
  const holders = (address: string) => pods.holders(address).map(({ facts }) => facts.name);
  return { pods, left, holders };
}

t.test('a pod from its coming to its going', async (t) => {
  const { pods, left, holders } = table();
  pods.put(podFacts('a'));
  t.equal(pods.size, 1);
  t.equal(pods.hasLive('shop', 'cart'), true);
  t.equal(pods.hasLive('shop', 'till'), false);
  t.equal(pods.hasLive('other', 'cart'), false);
  const before = pods.find('uid-of-a')?.validity;
  pods.put(podFacts('a', { addresses: ['10.0.0.1', 'fd00::1'] }));
  t.equal(before?.current, false, 'what was judged before is judged anew');
  t.strictSame(holders('10.0.0.1'), ['a']);
  t.strictSame(holders('fd00::1'), ['a']);
  pods.put(podFacts('a', { addresses: ['10.0.0.1', 'fd00::1'], deleting: true }));
  t.strictSame(holders('10.0.0.1'), ['a'], 'terminating: still there');
  t.strictSame(left, []);
  pods.remove('uid-of-a');
  t.strictSame(left, ['a']);
  t.strictSame(holders('10.0.0.1'), []);
  t.equal(pods.hasLive('shop', 'cart'), false);
  t.equal(pods.hasLeft('uid-of-a'), true);
});

t.test('a pod that ends has left, once', async (t) => {
  const { pods, left, holders } = table();
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  pods.put(podFacts('a', { addresses: ['10.0.0.1'], finished: true }));
  t.strictSame(left, ['a']);
  t.equal(pods.hasLive('shop', 'cart'), false);
  t.strictSame(holders('10.0.0.1'), [], 'its address may be the next one’s');
  pods.remove('uid-of-a');
  t.strictSame(left, ['a']);
});

t.test('what is no news changes nothing', async (t) => {
  const { pods } = table();
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  const { validity } = pods;
  const own = pods.find('uid-of-a')?.validity;
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  t.equal(validity.current, true);
  t.equal(own?.current, true);
  pods.put(podFacts('b'));
  t.equal(validity.current, false);
  t.equal(own?.current, true, 'another pod is none of its business');
});

t.test('an address that several pods have published', async (t) => {
  const address = { addresses: ['10.0.0.1'] };
  const { pods, holders } = table();
  pods.put(podFacts('first', address));
  const validity = pods.find('uid-of-first')?.validity;
  pods.put(podFacts('second', address));
  t.strictSame(holders('10.0.0.1'), ['second'], 'the one that has published it last');
  t.equal(validity?.current, false, 'what the other was judged by is not current');
  pods.put(podFacts('first', { ...address, deleting: true }));
  t.strictSame(holders('10.0.0.1'), ['second'], 'what is said again is no news');
  pods.put(podFacts('first', { addresses: ['10.0.0.2'] }));
  pods.put(podFacts('first', { ...address, deleting: true }));
  t.strictSame(holders('10.0.0.1'), ['first'], 'but if it has been away');
  pods.remove('uid-of-first');
  t.strictSame(holders('10.0.0.1'), ['second']);
  pods.put(podFacts('second', { ...address, finished: true }));
  t.strictSame(holders('10.0.0.1'), []);
});

t.test('an address that several pods of one list have', async (t) => {
  const address = { addresses: ['10.0.0.1'] };
  const { pods, holders } = table();
  const list = (...facts: PodFacts[]) => pods.replace(new Map(facts.map((one) => [one.uid, one])));
  list(
    podFacts('a', address),
    podFacts('b', address),
    podFacts('c', { ...address, deleting: true }),
  );
  t.strictSame(holders('10.0.0.1'), ['a', 'b'], 'all but those that are going');
  list(podFacts('a', address), podFacts('b', address), podFacts('d', address));
  t.strictSame(holders('10.0.0.1'), ['d'], 'it is in a later list only');
  list(podFacts('b', { ...address, deleting: true }));
  t.strictSame(holders('10.0.0.1'), ['b']);
});

t.test('host-network pods hold no address', async (t) => {
  const { pods, holders } = table();
  pods.put(podFacts('a', { addresses: ['10.0.0.1'], hostNetwork: true }));
  t.strictSame(holders('10.0.0.1'), []);
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
    hostNetwork: fc.boolean(),
    finished: fc.boolean(),
    deleting: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { pods, holders } = table();
      const truth = new Map<string, PodFacts>();
      // Who has published an address, in this order.
      const published = new Map<string, string[]>();
      let lives = 0;
      for (const { name, gone, ...change } of steps) {
        // How a pod is connected never changes, and who is gone does not come back: another has its
        // name.
        const before = truth.get(name);
        lives += 1;
        const { hostNetwork = change.hostNetwork, uid = `${name}-${lives}` } = before ?? {};
        const facts = podFacts(name, { ...change, hostNetwork, uid });
        if (gone) {
          truth.delete(name);
          if (before !== undefined) pods.remove(facts.uid);
        } else {
          truth.set(name, facts);
          pods.put(facts);
        }
        const claimed = gone || hostNetwork || facts.finished ? [] : facts.addresses;
        for (const address of ['10.0.0.1', '10.0.0.2', 'fd00::1']) {
          const order = published.get(address) ?? [];
          const others = order.filter((other) => other !== name);
          const next = claimed.includes(address)
            ? order.includes(name)
              ? order
              : [...others, name]
            : others;
          published.set(address, next);
          if (holders(address).join() !== next.slice(-1).join()) return false;
        }
      }
      return pods.size === truth.size;
    }),
  );
});
