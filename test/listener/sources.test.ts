import { Socket } from 'node:net';
import t from 'tap';
import { Sources } from '../../src/listener/sources.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** A connection from an address, as the server sees it. */
function from(address: string): Socket {
  const socket = new Socket();
  Object.defineProperty(socket, 'remoteAddress', { value: address });
  return socket;
}

const POD = '10.0.0.7';

function setUp(rate: number) {
  const clock = new ManualClock();
  const sources = new Sources(clock, { rate });
  const admit = (address: string, count: number) => {
    let admitted = 0;
    for (let done = 0; done < count; done++) {
      if (sources.of(from(address)).admit(clock.elapsed())) admitted += 1;
    }
    return admitted;
  };
  return { clock, sources, admit };
}

t.test('an address may make so many requests a second, five seconds of them at once', async (t) => {
  const { clock, admit } = setUp(200);
  t.equal(admit(POD, 5_000), 1_000);
  t.equal(admit(POD, 1), 0);
  await clock.advance(1_000);
  t.equal(admit(POD, 5_000), 200);
  await clock.advance(5);
  t.equal(admit(POD, 10), 1);
  await clock.advance(3_600_000);
  t.equal(admit(POD, 5_000), 1_000, 'what is not used does not add up without end');
});

t.test('each address has its own', async (t) => {
  const { admit } = setUp(10);
  t.equal(admit(POD, 100), 50);
  t.equal(admit('10.0.0.8', 100), 50);
  t.equal(admit('fd00::7', 100), 50);
});

t.test(
  "the node's own addresses, which host-network pods share, have ten times that",
  async (t) => {
    const own = ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'];
    for (const address of own) {
      const { admit } = setUp(10);
      t.equal(admit(address, 1_000), 500, address);
      for (const other of own) t.equal(admit(other, 1), 0, 'all together, whoever takes which');
      t.equal(admit(POD, 1), 1);
    }
  },
);

t.test('all link-local addresses of one link are one source', async (t) => {
  const { sources, admit } = setUp(10);
  // Nobody routes these: a pod can give itself any of them on the link that leads to it.
  t.equal(admit('fe80::1%veth1', 1_000), 50);
  for (let index = 2; index < 50; index += 1) t.equal(admit(`fe80::${index}%veth1`, 1), 0);
  t.equal(admit('fe80::1%veth2', 1_000), 50, "another pod's link");
  t.equal(sources.of(from('fe80::7%veth1')), sources.of(from('fe80::8%veth1')));
});

t.test('an address of IPv4 is one source, however the socket was bound', async (t) => {
  const { sources } = setUp(10);
  t.equal(sources.of(from(`::ffff:${POD}`)), sources.of(from(POD)));
  t.equal(sources.of(from(POD)).name, POD);
});

t.test('the connections of all addresses of the node count together', async (t) => {
  const { sources } = setUp(200);
  const connect = (address: string, count: number) =>
    Array.from({ length: count }, () => from(address)).filter((one) => sources.connected(one));
  connect(POD, 256);
  const open = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '::1'].map(
    (one) => connect(one, 2_000).length,
  );
  t.strictSame(open, [2_000, 560, 0, 0]);
  t.equal(connect('10.0.0.8', 256).length, 256, 'which leaves as much for pods');
});

t.test('what was saved up is counted before a refusal is paid for', async (t) => {
  const { clock, sources, admit } = setUp(10);
  t.equal(admit(POD, 50), 50);
  await clock.advance(5_000);
  sources.charge(from(POD));
  t.equal(admit(POD, 50), 41);
});

t.test('0: no bound', async (t) => {
  const { admit, sources } = setUp(0);
  t.equal(admit(POD, 10_000), 10_000);
  sources.of(from(POD)).charge(0);
  t.equal(admit(POD, 1), 1);
  for (let refused = 0; refused < 100; refused++) sources.charge(from(POD));
  t.equal(sources.connected(from(POD)), true, 'nor do refusals cost anything');
});

t.test('a request that is refused costs ten', async (t) => {
  const { clock, sources } = setUp(10);
  const source = sources.of(from(POD));
  let answered = 0;
  while (source.admit(clock.elapsed())) {
    source.charge(clock.elapsed());
    answered += 1;
  }
  t.equal(answered, 5, 'of fifty');
  await clock.advance(1_000);
  t.equal(source.admit(clock.elapsed()), true);
  for (let more = 0; more < 1_000; more++) source.charge(clock.elapsed());
  await clock.advance(5_000);
  t.equal(source.admit(clock.elapsed()), false, 'it may be owed');
  await clock.advance(200);
  t.equal(source.admit(clock.elapsed()), true, 'but no more than another five seconds');
});

t.test('connections are bounded by address before they are in all', async (t) => {
  const { sources } = setUp(200);
  const connect = (address: string, count: number) =>
    Array.from({ length: count }, () => from(address)).filter((one) => sources.connected(one));
  const [early] = connect('10.0.0.6', 256);
  t.equal(sources.connections, 256, 'as many as one may have are not told apart');
  const open = connect(POD, 300);
  t.equal(open.length, 256, 'beyond them each has its own bound');
  t.equal(sources.connections, 512);
  t.equal(connect('10.0.0.8', 1).length, 1, 'another address may go on');
  early?.emit('close');
  t.equal(connect(POD, 1).length, 0, 'what others close makes no room');
  open[0]?.emit('close');
  t.equal(sources.connections, 511);
  t.equal(connect(POD, 2).length, 1, 'one that ended makes room for one');
  t.equal(connect('127.0.0.1', 3_000).length, 2_560, "the node's own have more");
  for (let other = 0; sources.connections < 10_000; other++) {
    if (connect(`10.1.${other >> 8}.${other & 255}`, 256).length === 0) break;
  }
  t.equal(sources.connections, 10_000, 'all together');
});

t.test('when there are as many as there may be, who hoards gives way', async (t) => {
  let evicted = 0;
  const sources = new Sources(new ManualClock(), {
    rate: 200,
    onEviction: () => {
      evicted += 1;
    },
  });
  const connect = (address: string, count: number) =>
    Array.from({ length: count }, () => from(address)).filter((one) => sources.connected(one));
  connect('10.0.0.6', 256);
  const node = connect('127.0.0.1', 2_000);
  const hoards = Array.from({ length: 30 }, (_, index) => connect(`10.1.0.${index}`, 256));
  const modest = connect('10.2.0.1', 10_000 - sources.connections);
  t.equal(sources.connections, 10_000);
  t.ok(modest.length > 10 && modest.length < 256);

  const [first, second, third] = hoards[0] as [Socket, Socket, Socket];
  sources.waits(first);
  t.equal(connect('10.3.0.1', 1).length, 1, 'a pod that has none is let in');
  t.equal(sources.connections, 10_000);
  t.equal(evicted, 1);
  t.equal(second.destroyed, true, 'the oldest of a hoard');
  t.equal(first.destroyed, false, 'that does not wait for an answer');
  second.emit('close');
  t.equal(sources.connections, 10_000, 'which counts once');
  t.equal(connect('10.1.0.0', 1).length, 1, 'who has given up one may have another');

  sources.answered(first);
  connect('10.3.0.2', 3 * hoards.length);
  t.equal(first.destroyed && third.destroyed, true, 'now that one too');
  const lost = (open: Socket[]) => open.filter(({ destroyed }) => destroyed).length;
  const losses = hoards.map(lost);
  t.ok(Math.max(...losses) - Math.min(...losses) <= 2, `evenly: ${losses.join(' ')}`);
  t.equal(lost(modest) + lost(node), 0, 'who has less of what it may have loses none');

  for (const socket of [...hoards.flat(), ...modest, ...node]) sources.waits(socket);
  const before = sources.connections;
  for (const address of ['10.3.0.1', '10.3.0.2', '10.1.0.0']) connect(address, 300);
  t.equal(sources.connections, before, 'and never are there more');
});

t.test('who owes for refusals is not even let in', async (t) => {
  const { clock, sources } = setUp(10);
  t.equal(sources.connected(from(POD)), true);
  for (let refused = 0; refused < 8; refused++) sources.charge(from(POD));
  t.equal(sources.connected(from(POD)), false);
  t.equal(sources.connected(from('10.0.0.8')), true, 'others are');
  t.equal(sources.connections, 2, 'and who was not let in does not count');
  await clock.advance(2_300);
  t.equal(sources.connected(from(POD)), true, 'until that is made up for');
});

t.test('an address that nothing is held against is forgotten', async (t) => {
  const { clock, sources } = setUp(10);
  const idle = sources.of(from(POD));
  sources.sweep();
  t.not(sources.of(from(POD)), idle);

  const owing = sources.of(from(POD));
  owing.admit(clock.elapsed());
  sources.sweep();
  t.equal(sources.of(from(POD)), owing, 'not while it has used some of its budget');
  await clock.advance(100);
  sources.sweep();
  t.not(sources.of(from(POD)), owing, 'until that is made up for');

  for (let others = 0; others < 256; others++) sources.connected(from('10.0.0.6'));
  const socket = from(POD);
  sources.connected(socket);
  const connected = sources.of(socket);
  sources.sweep();
  t.equal(sources.of(from(POD)), connected, 'nor while it is connected');
  socket.emit('close');
  sources.sweep();
  t.not(sources.of(from(POD)), connected);
});

t.test('who goes on asking far beyond its rate is shut out', async (t) => {
  const { clock, sources, admit } = setUp(10);
  const source = sources.of(from(POD));
  admit(POD, 50);
  admit(POD, 100);
  t.notOk(source.floods, 'a burst beyond the budget is told so');
  for (let second = 0; second < 60; second += 1) {
    await clock.advance(1_000);
    t.equal(admit(POD, 35), 10, 'three and a half times the rate: served the rate');
  }
  t.notOk(source.floods, 'and told so');
  for (let second = 0; second < 20; second += 1) {
    await clock.advance(1_000);
    admit(POD, 100);
  }
  t.ok(source.floods);
  source.shutOut();
  sources.refused(source);
  t.notOk(source.floods, 'it starts anew');
  t.notOk(sources.connected(from(POD)), 'but is not let in');
  await clock.advance(1_200);
  t.ok(sources.connected(from(POD)), 'for a second');
  t.equal(admit(POD, 35) > 0, true);
});

t.test('one address has at most a quarter of few connections', async (t) => {
  const sources = new Sources(new ManualClock(), { rate: 200, connectionsInAll: 16 });
  const connected = (address: string, count: number) =>
    Array.from({ length: count }, () => sources.connected(from(address))).filter(Boolean).length;
  // Of the first ones nobody asks whose they are.
  t.equal(connected('10.0.0.7', 100), 4 + 4);
  t.equal(connected('10.0.0.8', 100), 4);
  t.equal(connected('10.0.0.9', 1), 1);
});

t.test(
  'whose a new connection is matters to nobody until somebody owes or many are open',
  async (t) => {
    const clock = new ManualClock();
    const sources = new Sources(clock, { rate: 2, connections: 4, connectionsInAll: 8 });
    t.equal(sources.wary, false);
    for (let count = 0; count < 10; count += 1) sources.charge(from(POD));
    t.equal(sources.wary, true);
    t.equal(sources.turnsAway(POD), true);
    t.equal(sources.turnsAway(`::ffff:${POD}`), true);
    t.equal(sources.turnsAway('10.0.0.8'), false);
    t.equal(sources.connected(from(POD)), false);
    await clock.advance(20_000);
    t.equal(sources.turnsAway(POD), false, 'its debt is forgotten');
    t.equal(sources.connected(from(POD)), true);
    t.equal(sources.wary, false);

    for (let count = 0; count < 3; count += 1) sources.connected(from('10.0.0.8'));
    t.equal(sources.wary, true, 'from now on it is known whose they are');
    t.equal(sources.turnsAway(POD), false);
    for (let count = 0; count < 4; count += 1) {
      t.equal(sources.turnsAway('10.0.0.9'), false);
      t.equal(sources.connected(from('10.0.0.9')), true);
    }
    t.equal(sources.turnsAway('10.0.0.9'), true);
    t.equal(sources.turnsAway(POD), false, 'others are let in');
    t.equal(sources.connections, 8);
  },
);
