import { Socket } from 'node:net';
import t from 'tap';
import { FirstRequests, MAX_IN_A_TURN } from '../../src/listener/first-requests.ts';
import { settle } from '../support/manual-clock.ts';

const BATCH = MAX_IN_A_TURN / 2;

/** Turns of the event loop that pass when the test says so. */
class Turns {
  #next: (() => void)[] = [];

  readonly next = (callback: () => void): void => void this.#next.push(callback);

  /** Whether anybody waits for the next one. */
  get awaited(): boolean {
    return this.#next.length > 0;
  }

  async pass(): Promise<void> {
    for (const callback of this.#next.splice(0)) callback();
    // A stream goes on in the next tick.
    await settle();
  }
}

function setUp({ probe }: { probe?: Socket } = {}) {
  const turns = new Turns();
  const sources = new Map<Socket, string>();
  const first = new FirstRequests({
    sourceOf: (socket) => sources.get(socket) ?? '',
    isProbe: (socket) => socket === probe,
    nextTurn: turns.next,
  });
  /** So many new connections of one address. */
  const connect = (count: number, source = '10.0.0.7'): Socket[] =>
    Array.from({ length: count }, () => {
      const socket = new Socket();
      sources.set(socket, source);
      first.accepted(socket);
      return socket;
    });
  const ask = (sockets: readonly Socket[]) => {
    for (const socket of sockets) first.asked(socket);
  };
  return { turns, first, connect, ask, sources };
}

const heldOf = (sockets: readonly Socket[]) => sockets.filter((socket) => socket.isPaused()).length;

t.test('a turn has so many first requests, and nobody else is read until it is over', async (t) => {
  const { turns, first, connect, ask } = setUp();
  const [asking, silent] = [connect(MAX_IN_A_TURN), connect(100)];
  ask(asking.slice(1));
  t.equal(first.held, 0);
  ask(asking.slice(0, 1));
  t.equal(first.held, 100);
  t.equal(heldOf(silent), 100);
  t.equal(heldOf(asking), 0, 'who has asked is read on');
  for (let held = 100 - BATCH; held > 0; held -= BATCH) {
    await turns.pass();
    t.equal(first.held, held);
    t.equal(heldOf(silent), held);
  }
  await turns.pass();
  t.equal(first.held, 0, 'though none of them has asked');
  t.notOk(turns.awaited, 'and then no turn is waited for');
});

t.test('turns that have few of them are not even looked at', async (t) => {
  const { turns, first, connect, ask } = setUp();
  connect(1_000);
  ask(connect(BATCH - 1));
  t.notOk(turns.awaited);
  for (let turn = 0; turn < 10; turn += 1) {
    ask(connect(BATCH));
    t.ok(turns.awaited);
    t.equal(first.held, 0);
    await turns.pass();
  }
});

t.test('connections count once, however often they ask', async (t) => {
  const { first, connect, ask } = setUp();
  const [one] = connect(1) as [Socket];
  connect(10);
  ask(Array.from({ length: 1_000 }, () => one));
  t.equal(first.held, 0);
});

t.test('those that are let back in and ask all at once are held anew', async (t) => {
  const { turns, first, connect } = setUp();
  const sockets = connect(200);
  const asked: Socket[] = [];
  for (let turn = 0; asked.length < 200; turn += 1) {
    t.ok(turn < 10, `turn ${turn}`);
    let inTurn = 0;
    // All have something to be read, and who is paused is not read.
    for (const socket of sockets) {
      if (asked.includes(socket) || socket.isPaused()) continue;
      first.asked(socket);
      asked.push(socket);
      inTurn += 1;
    }
    t.ok(inTurn <= MAX_IN_A_TURN, `${inTurn} first requests`);
    await turns.pass();
  }
  t.equal(heldOf(sockets), 0);
});

t.test('sources take turns', async (t) => {
  const { turns, connect, ask } = setUp();
  const hostile = Array.from({ length: 10 }, (_, pod) => connect(256, `10.0.1.${pod}`));
  const victim = connect(3, '10.0.2.1');
  ask(connect(MAX_IN_A_TURN, '10.0.0.7'));
  t.equal(heldOf(victim), 3);
  await turns.pass();
  t.equal(heldOf(victim), 1, 'each round has one of every source');
  t.strictSame(
    hostile.map((sockets) => 256 - heldOf(sockets)),
    [3, 3, 3, 3, 3, 3, 3, 3, 3, 3],
  );
  await turns.pass();
  t.equal(heldOf(victim), 0);
});

t.test('silence keeps no place: who was silent for long is held like others', async (t) => {
  const { turns, first, connect, ask } = setUp();
  const silent = connect(500, '10.0.1.1');
  for (let turn = 0; turn < 100; turn += 1) await turns.pass();
  // Now they speak, all at once.
  for (const socket of silent) if (!socket.isPaused()) first.asked(socket);
  t.equal(heldOf(silent), 500 - MAX_IN_A_TURN);
  const victim = connect(1, '10.0.2.1');
  t.equal(heldOf(victim), 0, 'a new connection is read at once');
  ask(victim);
  await turns.pass();
  t.equal(heldOf(silent), 500 - MAX_IN_A_TURN - BATCH);
});

t.test('a probe never waits', async (t) => {
  const probe = new Socket();
  const { first, connect, ask } = setUp({ probe });
  first.accepted(probe);
  const others = connect(10);
  ask(connect(MAX_IN_A_TURN + 10));
  t.equal(heldOf(others), 10);
  t.notOk(probe.isPaused());
});

t.test('whoever hangs up is forgotten', async (t) => {
  const { turns, first, connect, ask } = setUp();
  const [read, held] = [connect(10), connect(100)];
  for (const socket of read) socket.emit('close');
  ask(connect(MAX_IN_A_TURN));
  t.equal(first.held, 100, 'while it was read');
  for (const socket of held.slice(0, 60)) socket.emit('close');
  t.equal(first.held, 40, 'while it was held');
  await turns.pass();
  t.equal(heldOf(held.slice(60)), 40 - BATCH, 'and takes no place of others');
  for (const socket of held.slice(60)) socket.emit('close');
  t.equal(first.held, 0);
  await turns.pass();
  t.notOk(turns.awaited);
  ask(connect(MAX_IN_A_TURN));
  t.equal(first.held, 0, 'nor is it held later');
});

t.test('one that took too long to ask is read to its end', async (t) => {
  const { turns, first, connect, ask } = setUp();
  const [late, other] = connect(2) as [Socket, Socket];
  ask(connect(MAX_IN_A_TURN));
  t.ok(late.isPaused());
  first.asked(late);
  await settle();
  t.notOk(late.isPaused());
  t.ok(other.isPaused());
  t.equal(first.held, 1);
  await turns.pass();
  t.equal(first.held, 0);
});

t.test('what is to wait until all are read does', async (t) => {
  const { turns, first, connect, ask } = setUp();
  let called = 0;
  const wait = () =>
    first.onceAllAreRead(() => {
      called += 1;
    });
  wait();
  await turns.pass();
  t.equal(called, 1, 'where nobody is held, that is the next turn');
  const held = connect(BATCH + 1);
  ask(connect(MAX_IN_A_TURN));
  wait();
  await turns.pass();
  await turns.pass();
  t.equal(heldOf(held), 0, 'all are let back in');
  t.equal(called, 1, 'but what they have asked is read in the turn that follows');
  ask(held);
  connect(1);
  ask(connect(MAX_IN_A_TURN));
  await turns.pass();
  t.equal(called, 1, 'and others may be held by then');
  await turns.pass();
  t.equal(called, 2);
  t.notOk(turns.awaited);
});
