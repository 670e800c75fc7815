import fc from 'fast-check';
import t from 'tap';
import { type Bearer, PodGate, type PodGateOptions } from '../../src/identity/pod-gate.ts';
import { NodePods } from '../../src/kubernetes/node-pods.ts';
import type { PodFacts } from '../../src/kubernetes/pod.ts';
import type { LookupResult, SoughtPod } from '../../src/kubernetes/pod-lookup.ts';
import { RepeatedFaults } from '../../src/telemetry/repeated-faults.ts';
import { podFacts } from '../kubernetes/pods.ts';
import { capturedLog } from '../support/captured-log.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { liveToken } from '../support/sessions-harness.ts';

const NODE_ADDRESS = '10.0.0.100';

/** A gate over a real table, and an API server that answers what the test says. */
function setUp(options: Partial<PodGateOptions> = {}) {
  const clock = new ManualClock();
  const { log, lines } = capturedLog();
  const pods = new NodePods({ onLeft: () => undefined });
  const findings: string[] = [];
  const asked: string[] = [];
  const api: { answer: (sought: SoughtPod) => Promise<LookupResult> } = {
    answer: async () => ({ kind: 'absent' }),
  };
  const watch = { connected: true };
  const gate = new PodGate({
    clock,
    connected: () => watch.connected,
    faults: new RepeatedFaults(clock, log),
    pods,
    lookup: {
      find: (sought) => {
        asked.push(sought.pod);
        return api.answer(sought);
      },
    },
    firstList: Promise.resolve(),
    nodeName: 'node-1',
    isOwn: (address) => address === NODE_ADDRESS,
    mode: 'enforce',
    strict: false,
    onFinding: (finding) => void findings.push(finding),
    ...options,
  });
  const bearer = (pod: string): Bearer => ({
    pod: { ...liveToken(clock, 'cart', pod).pod, podUid: `uid-of-${pod}` },
  });
  /** As a request is served: from memory, else after a judgement. */
  const ask = async (who: Bearer, address: string | undefined) =>
    gate.admits(who, address, clock.now()) ? 'hit' : ((await gate.judge(who, address)) ?? 'judged');
  return { clock, lines, pods, findings, asked, api, watch, gate, bearer, ask };
}

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

t.test('in audit nobody waits for a pod to be asked about', async (t) => {
  const { pods, bearer, gate, clock, api, findings } = setUp({ mode: 'audit' });
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  pods.put(podFacts('new'));
  const { promise, resolve } = Promise.withResolvers<LookupResult>();
  api.answer = () => promise;
  t.equal(gate.admits(bearer('new'), '10.0.0.1', clock.now()), true);
  t.strictSame(findings, []);
  resolve({ kind: 'pod', facts: podFacts('new') });
  await clock.advance(0);
  t.strictSame(findings, ['wrong-address'], 'and it is counted after that');
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

t.test('what is said of a pod to whoever asks for an explanation', async (t) => {
  const { pods, gate, bearer, findings, asked } = setUp();
  pods.put(podFacts('a', { addresses: ['10.0.0.1', 'fd00::1'] }));
  pods.put(podFacts('new'));
  pods.put(podFacts('host', { hostNetwork: true, addresses: [NODE_ADDRESS] }));
  pods.put(podFacts('done', { finished: true }));
  pods.remove('uid-of-gone');
  const said = (pod: string) => gate.describe(bearer(pod).pod);
  t.strictSame(said('a'), { ok: true, detail: 'on this node; its addresses: 10.0.0.1, fd00::1' });
  t.match(said('new'), { ok: true, detail: /not published yet/ });
  t.match(said('host'), { ok: true, detail: /the node's own/ });
  t.match(said('unknown'), { ok: true, detail: /the API server is asked/ });
  t.strictSame(said('done'), { ok: false, detail: 'the pod of the token has ended' });
  t.match(said('gone'), { ok: false, detail: /not on this node, or no longer/ });
  t.strictSame([findings, asked], [[], []]);
  const audit = setUp({ mode: 'audit' });
  audit.pods.remove('uid-of-gone');
  t.match(audit.gate.describe(bearer('gone').pod), { ok: true, detail: /audit: it is served/ });
});

t.test('audit refuses nobody, keeps nobody waiting, and counts each', async (t) => {
  const { clock, pods, gate, bearer, api, findings, lines } = setUp({ mode: 'audit' });
  pods.put(podFacts('a', { addresses: ['10.0.0.1'] }));
  pods.put(podFacts('done', { finished: true }));
  const a = bearer('a');
  t.equal(gate.admits(a, '10.0.0.2', clock.now()), true);
  t.equal(gate.admits(a, NODE_ADDRESS, clock.now()), true);
  t.equal(gate.admits(bearer('done'), '10.0.0.3', clock.now()), true);
  t.equal(gate.admits(a, '10.0.0.1', clock.now()), true);
  t.equal(await gate.judge(bearer('done'), '10.0.0.3'), undefined);
  t.strictSame(findings, ['unknown-address', 'wrong-address', 'not-live', 'not-live']);
  t.match(lines[1]?.msg, /^request would be refused: /);

  api.answer = () => new Promise(() => undefined);
  t.equal(await gate.judge(bearer('unknown'), '10.0.0.1'), undefined, 'the API server hangs');
  t.equal(gate.admits(bearer('unknown'), '10.0.0.1', clock.now()), true);
  api.answer = async () => ({ kind: 'absent' });
  t.equal(gate.admits(bearer('gone'), '10.0.0.1', clock.now()), true);
  await clock.advance(1_000);
  t.equal(findings.at(-1), 'not-on-node', 'found out behind its back');
});

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
      fc.array(step, { maxLength: 40 }),
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
