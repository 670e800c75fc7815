import t from 'tap';
import { readPod } from '../../src/kubernetes/pod.ts';
import { podFacts, podObject } from './pods.ts';

t.test('what is kept of a pod', async (t) => {
  const status = { podIP: '10.0.0.9', podIPs: [{ ip: '10.0.0.9' }, { ip: 'FD00::0009' }] };
  t.strictSame(
    readPod(podObject('a', { status })),
    podFacts('a', {
      addresses: ['10.0.0.9', 'fd00::9'],
    }),
  );
  t.match(readPod(podObject('a', { status: { podIP: '10.0.0.9' } })), { addresses: ['10.0.0.9'] });
  t.match(readPod(podObject('a', { status: { phase: 'Succeeded' } })), { finished: true });
  t.match(readPod(podObject('a', { status: { phase: 'Failed' } })), { finished: true });
  t.match(readPod(podObject('a', { status: { phase: 'Unknown' } })), { finished: false });
  t.match(readPod(podObject('a', { spec: { hostNetwork: true } })), { hostNetwork: true });
  t.match(
    readPod(podObject('a', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } })),
    { deleting: true, finished: false },
    'terminating: served until it is gone',
  );
  t.match(readPod({ ...podObject('a'), kind: undefined }), { name: 'a' }, 'an item of a list');
});

t.test('what is no pod, or a strange one', async (t) => {
  for (const value of [
    null,
    'pod',
    [],
    {},
    { kind: 'Node', metadata: {}, spec: {} },
    { ...podObject('a'), metadata: null },
    { ...podObject('a'), spec: 'spec' },
    podObject('a', { metadata: { uid: 7 } }),
    podObject('a', { metadata: { uid: 'u'.repeat(300) } }),
  ]) {
    t.equal(readPod(value), undefined, JSON.stringify(value)?.slice(0, 60));
  }
  const strange = { podIPs: [{ ip: 'evil' }, null, 7, { ip: { a: 1 } }], podIP: [], phase: {} };
  t.match(readPod(podObject('a', { status: strange })), { addresses: [], finished: false });
  const many = {
    podIPs: Array.from({ length: 999 }, (_, n) => ({ ip: `10.0.${n >> 8}.${n & 255}` })),
  };
  t.equal(readPod(podObject('a', { status: many }))?.addresses.length, 16, 'addresses are bounded');
});
