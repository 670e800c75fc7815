import fc from 'fast-check';
import t from 'tap';
import { canonicalAddress } from '../../src/network/canonical-address.ts';
import { OwnAddresses } from '../../src/network/own-addresses.ts';
import { ManualClock } from '../support/manual-clock.ts';

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
  t.equal(own.has('::ffff:10.0.0.2'), true, 'in any form');
  there = [];
  await clock.advance(60_000);
  t.equal(own.has('10.0.0.1'), false);
  there = ['10.0.0.9'];
  t.equal(own.hasNow('10.0.0.9'), true, 'at once, where that is asked');
  there = [];
  t.equal(own.has('10.0.0.9'), true);
  t.equal(own.hasNow('10.0.0.9'), false);
  t.equal(own.has('no address'), false);
  t.equal(new OwnAddresses(clock).has('203.0.113.77'), false, 'what the kernel says');
});

t.test('addresses that cannot be read are those that were', async (t) => {
  const clock = new ManualClock();
  let failure: Error | undefined = new Error('uv_interface_addresses returned EMFILE');
  const own = new OwnAddresses(clock, () => {
    if (failure !== undefined) throw failure;
    return ['10.0.0.1'];
  });
  t.equal(own.hasNow('10.0.0.1'), false);
  t.equal(own.has('127.0.0.1'), true);
  failure = undefined;
  await clock.advance(1_000);
  t.equal(own.has('10.0.0.1'), true);
  failure = new Error('uv_interface_addresses returned EMFILE');
  t.equal(own.hasNow('10.0.0.1'), true);
  await clock.advance(60_000);
  t.equal(own.has('10.0.0.1'), true);
});
