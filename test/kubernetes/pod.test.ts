import fc from 'fast-check';
import t from 'tap';
import { canonicalAddress } from '../../src/kubernetes/address.ts';
import { OwnAddresses } from '../../src/kubernetes/own-addresses.ts';
import { readPod } from '../../src/kubernetes/pod.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { podFacts, podObject } from './pods.ts';

t.test('addresses in the one form that they are compared in', async (t) => {
  for (const [written, canonical] of [
    ['10.244.0.9', '10.244.0.9'],
    ['::ffff:10.244.0.9', '10.244.0.9'],
    ['::FFFF:0af4:0009', '10.244.0.9'],
    ['0:0:0:0:0:ffff:10.244.0.9', '10.244.0.9'],
    ['FD00:0244::0009', 'fd00:244::9'],
    ['fd00:244:0:0:0:0:0:9', 'fd00:244::9'],
    ['fe80::1%eth0', 'fe80::1'],
    ['::1', '::1'],
    ['::', '::'],
    ['', undefined],
    ['010.1.1.1', undefined],
    ['10.1.1', undefined],
    ['pod.example', undefined],
    ['::1]/evil', undefined],
  ] as const) {
    t.equal(canonicalAddress(written), canonical, written);
  }
});

t.test('an address that is mapped is the one that it was made from', async () => {
  fc.assert(fc.property(fc.ipV4(), (address) => canonicalAddress(`::ffff:${address}`) === address));
});

t.test('what is kept of a pod', async (t) => {
  const status = { podIP: '10.0.0.9', podIPs: [{ ip: '10.0.0.9' }, { ip: 'FD00::0009' }] };
  t.strictSame(
    readPod(podObject('a', { status })),
    podFacts('a', {
      createdAt: Date.parse('2026-01-01T00:00:00Z'),
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

t.test("the node's own addresses", async (t) => {
  const clock = new ManualClock();
  let there = ['10.0.0.1'];
  let reads = 0;
  const own = new OwnAddresses(clock, () => {
    reads += 1;
    return there;
  });
  t.equal(own.has('127.0.0.5'), true);
  t.equal(own.has('::1'), true);
  t.equal(own.has('10.0.0.1'), true);
  t.equal(own.has('10.0.0.2'), false);
  there = ['10.0.0.1', '10.0.0.2', 'FE80:0::2%eth1'];
  t.equal(own.has('10.0.0.2'), false, 'a flood of strange addresses costs no look each');
  t.equal(reads, 1);
  await clock.advance(1_000);
  t.equal(own.has('10.0.0.2'), true, 'interfaces come and go');
  t.equal(own.has('fe80::2'), true);
  there = [];
  await clock.advance(60_000);
  t.equal(own.has('10.0.0.1'), false);
  t.equal(new OwnAddresses(clock).has('203.0.113.77'), false, 'what the kernel says');
});
