import t from 'tap';
import { Circuit, type CircuitState } from '../../src/session-store/circuit.ts';
import { within } from '../../src/session-store/within.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';

function setUp() {
  const clock = new ManualClock();
  const states: CircuitState[] = [];
  const probes: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  const circuit = new Circuit({
    clock,
    random: () => 0,
    probe: () => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      probes.push({ resolve, reject });
      return promise;
    },
    onChange: (state) => states.push(state),
  });
  const last = () => probes.at(-1) as (typeof probes)[0];
  return { clock, circuit, states, probes, last };
}

async function closed() {
  const set = setUp();
  set.circuit.connected();
  set.last().resolve();
  await settle();
  return set;
}

t.test('it is open until there is a connection and a probe has worked', async (t) => {
  const { circuit, clock, probes, last } = setUp();
  t.match(circuit, { state: 'open', reason: 'not connected yet' });
  await clock.advance(60_000);
  t.equal(probes.length, 0, 'nothing is tried without a connection');
  circuit.connected();
  t.equal(circuit.state, 'half-open');
  last().resolve();
  await settle();
  t.equal(circuit.state, 'closed');
});

t.test('failures in a row open it, others do not', async (t) => {
  const { circuit } = await closed();
  for (let round = 0; round < 5; round += 1) {
    circuit.failed('ERR');
    circuit.failed('ERR');
    circuit.succeeded();
  }
  t.equal(circuit.state, 'closed');
  for (let failure = 0; failure < 3; failure += 1) circuit.failed('OOM');
  t.match(circuit, { state: 'open', reason: 'OOM' });
});

t.test('a probe from time to time, ever more rarely, closes it again', async (t) => {
  const { circuit, clock, probes, last } = await closed();
  for (let failure = 0; failure < 3; failure += 1) circuit.failed('OOM');
  const pauses: number[] = [];
  for (let probe = 0; probe < 6; probe += 1) {
    const before = probes.length;
    pauses.push(clock.next as number);
    await clock.advance(clock.next as number);
    t.equal(probes.length, before + 1);
    last().reject(new Error('OOM'));
    await settle();
    t.equal(circuit.state, 'open');
  }
  t.strictSame(pauses, [500, 1_000, 2_000, 4_000, 5_000, 5_000]);
  await clock.advance(5_000);
  last().resolve();
  await settle();
  t.equal(circuit.state, 'closed');
});

t.test('a lost connection opens it at once, and a new one is tried at once', async (t) => {
  const { circuit, clock, probes, last } = await closed();
  circuit.disconnected('ECONNRESET');
  t.match(circuit, { state: 'open', reason: 'ECONNRESET' });
  await clock.advance(60_000);
  t.equal(probes.length, 1, 'no probe without a connection');
  circuit.connected();
  t.equal(probes.length, 2);
  circuit.disconnected('ECONNREFUSED');
  last().resolve();
  await settle();
  t.equal(circuit.state, 'open', 'a probe of the lost connection says nothing');
});

t.test('stopped, it tries nothing out', async (t) => {
  const { circuit, clock, probes } = await closed();
  for (let failure = 0; failure < 3; failure += 1) circuit.failed('OOM');
  circuit.stop();
  await clock.advance(60_000);
  t.equal(probes.length, 1);
  t.equal(clock.pending, 0);
});

t.test('an answer that does not come in time is given up', async (t) => {
  const clock = new ManualClock();
  const never = within(clock, 50, new Promise(() => undefined));
  never.catch(() => undefined);
  await clock.advance(49);
  t.equal(clock.pending, 1);
  await clock.advance(1);
  await t.rejects(never, { name: 'RedisTimeoutError' });
  t.equal(await within(clock, 50, Promise.resolve(7)), 7);
  t.equal(clock.pending, 0, 'nothing is left behind');
});
