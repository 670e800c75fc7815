import t from 'tap';
import type { LookupResult } from '../../src/kubernetes/pod-lookup.ts';
import { podFacts } from '../kubernetes/pods.ts';

import { NODE_ADDRESS, setUp } from './gate-harness.ts';

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
