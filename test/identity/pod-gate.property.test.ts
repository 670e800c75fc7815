import fc from 'fast-check';
import t from 'tap';
import type { Bearer } from '../../src/identity/pod-gate.ts';
import type { PodFacts } from '../../src/kubernetes/pod.ts';
import { podFacts } from '../kubernetes/pods.ts';

import { NODE_ADDRESS, setUp } from './gate-harness.ts';

t.test('a token is never served from an address that is another pod’s', async () => {
  const POD_NAMES = ['a', 'b', 'c'];
  const ADDRESSES = ['10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1', NODE_ADDRESS];
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('put' as const),
      name: fc.constantFrom(...POD_NAMES),
      addresses: fc.subarray(ADDRESSES.slice(0, 4), { maxLength: 2 }),
      finished: fc.boolean(),
      deleting: fc.boolean(),
    }),
    fc.record({ kind: fc.constant('remove' as const), name: fc.constantFrom(...POD_NAMES) }),
    fc.record({
      kind: fc.constant('ask' as const),
      name: fc.constantFrom(...POD_NAMES),
      address: fc.constantFrom(...ADDRESSES, '::ffff:10.0.0.1', '::ffff:10.0.0.2'),
      away: fc.boolean(),
    }),
  );
  const hostNetwork = fc.subarray(POD_NAMES);
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40, size: 'max' }),
      hostNetwork,
      fc.boolean(),
      async (steps, onHost, strict) => {
        const { pods, bearer, ask, api } = setUp({ strict });
        const bearers = new Map(POD_NAMES.map((name) => [name, bearer(name)]));
        const truth = new Map<string, PodFacts>();
        const order = new Map<string, number>();
        let events = 0;
        for (const one of steps) {
          if (one.kind === 'put') {
            const { kind, name, ...change } = one;
            // Who is gone does not come back.
            if (pods.hasLeft(`uid-of-${name}`)) continue;
            const facts = podFacts(name, { ...change, hostNetwork: onHost.includes(name) });
            events += 1;
            for (const address of ADDRESSES) {
              const claimed = !facts.finished && facts.addresses.includes(address);
              const key = `${name} ${address}`;
              if (!claimed) order.delete(key);
              else if (!order.has(key)) order.set(key, events);
            }
            truth.set(name, facts);
            pods.put(facts);
          } else if (one.kind === 'remove') {
            truth.delete(one.name);
            for (const address of ADDRESSES) order.delete(`${one.name} ${address}`);
            pods.remove(`uid-of-${one.name}`);
          } else {
            api.answer = async ({ pod }) => {
              const facts = truth.get(pod);
              if (one.away) return { kind: 'away' };
              return facts === undefined ? { kind: 'absent' } : { kind: 'pod', facts };
            };
            const outcome = await ask(bearers.get(one.name) as Bearer, one.address);
            const served = outcome === 'hit' || outcome === 'judged';
            if (!served) continue;
            const pod = truth.get(one.name);
            // A pod that nobody could be asked about: nothing is known of it.
            if (pod === undefined) {
              if (pods.hasLeft(`uid-of-${one.name}`)) return false;
              if (one.away || outcome === 'hit') continue;
              return false;
            }
            if (pod.finished) return false;
            const address = one.address.replace('::ffff:', '');
            // Whose it is: the one that has published it last.
            const [holder] = [...truth.values()]
              .filter(({ name, hostNetwork }) => !hostNetwork && order.has(`${name} ${address}`))
              .sort(
                (one, other) =>
                  (order.get(`${other.name} ${address}`) ?? 0) -
                  (order.get(`${one.name} ${address}`) ?? 0),
              );
            const own = holder === pod;
            const passedOn =
              !pod.hostNetwork && pod.addresses.length === 0 && holder?.deleting === true;
            if (holder !== undefined && !own && !passedOn) return false;
            if (address === NODE_ADDRESS && !pod.hostNetwork) return false;
            if (pod.hostNetwork && address !== NODE_ADDRESS) return false;
            if (strict && !own && !pod.hostNetwork && pod.addresses.length > 0) return false;
          }
        }
        return true;
      },
    ),
    { numRuns: 500 },
  );
});
