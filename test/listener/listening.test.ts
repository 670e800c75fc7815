import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import t, { type Test } from 'tap';
import { listen } from '../../src/listener/listening.ts';
import { portHolder } from '../../src/listener/port-holder.ts';
import { capturedLog } from '../support/captured-log.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { until } from '../support/until.ts';

/** A server that ends with the test. */
function server(t: Test): Server {
  const made = createServer();
  t.teardown(() => made.close());
  return made;
}

/** A port of 127.0.0.1 that somebody holds. */
async function taken(t: Test): Promise<{ holder: Server; port: number }> {
  const holder = server(t);
  holder.listen(0, '127.0.0.1');
  await once(holder, 'listening');
  return { holder, port: (holder.address() as AddressInfo).port };
}

function setUp() {
  const clock = new ManualClock();
  const abort = new AbortController();
  return { clock, abort, signal: abort.signal, ...capturedLog() };
}

t.test('a free port', async (t) => {
  const { lines, ...others } = setUp();
  const one = server(t);
  t.equal(await listen(one, { host: '127.0.0.1', port: 0, ...others }), true);
  t.equal(one.listening, true);
  t.match(lines, [{ level: 'info', msg: 'listening', address: /^127\.0\.0\.1:/ }]);
  const other = server(t);
  t.equal(await listen(other, { host: '::1', port: 0, ...others }), true);
  t.match(lines[1], { address: /^\[::1\]:/ });
});

t.test('a port that is taken is tried four times a second, and said to be once', async (t) => {
  const { holder, port } = await taken(t);
  const { clock, lines, ...others } = setUp();
  const waiting = server(t);
  let tries = 0;
  waiting.on('error', () => {
    tries += 1;
  });
  let listens: boolean | undefined;
  const listening = listen(waiting, { host: '127.0.0.1', port, clock, ...others }).then(
    (result) => {
      listens = result;
    },
  );
  await until(() => clock.pending === 1, 'the next try is waited for');
  t.equal(tries, 1);
  t.match(lines, [
    {
      level: 'warn',
      msg: 'port is taken; waiting for it',
      address: `127.0.0.1:${port}`,
      holder: new RegExp(`\\(pid ${process.pid}\\)$`),
    },
  ]);
  for (let more = 2; more <= 5; more++) {
    t.equal(clock.next, 250);
    await clock.advance(249);
    t.equal(tries, more - 1);
    await clock.advance(1);
    await until(() => clock.pending === 1, 'the next try is waited for');
    t.equal(tries, more);
  }
  t.equal(listens, undefined);
  t.equal(lines.length, 1, 'once');

  holder.close();
  await once(holder, 'close');
  await clock.advance(250);
  await listening;
  t.equal(listens, true, 'picked up as soon as it is free');
  t.match(lines[1], { msg: 'listening', address: `127.0.0.1:${port}` });
  t.equal(clock.pending, 0);
});

t.test('a wait that is called off', async (t) => {
  const { port } = await taken(t);
  const { clock, abort, ...others } = setUp();
  const waiting = server(t);
  const listening = listen(waiting, { host: '127.0.0.1', port, clock, ...others });
  await until(() => clock.pending === 1, 'the next try is waited for');
  abort.abort();
  t.equal(await listening, false);
  t.equal(waiting.listening, false);
  t.equal(clock.pending, 0);
  t.equal(await listen(server(t), { host: '127.0.0.1', port: 0, clock, ...others }), false);
});

t.test('an address that the node does not have', async (t) => {
  const { lines, ...others } = setUp();
  for (const host of ['192.0.2.1', '2001:db8::1']) {
    await t.rejects(listen(server(t), { host, port: 0, ...others }), {
      name: 'ListenError',
      absent: true,
      message: `${host} is not an address of this node`,
    });
  }
  t.strictSame(lines, []);
});

t.test('what waiting does not mend', async (t) => {
  const one = server(t);
  const { host, port } = { host: 'no-such-host.invalid', port: 0 };
  await t.rejects(listen(one, { host, port, ...setUp() }), {
    name: 'ListenError',
    absent: false,
    message: /^cannot listen on no-such-host\.invalid:0: /,
  });
});

t.test('who holds a port', async (t) => {
  const { holder, port } = await taken(t);
  t.match(await portHolder(port), new RegExp(`^.+ \\(pid ${process.pid}\\)$`));
  holder.close();
  await once(holder, 'close');
  t.equal(await portHolder(port), undefined);
  const six = server(t);
  six.listen(0, '::1');
  await once(six, 'listening');
  t.match(await portHolder((six.address() as AddressInfo).port), `pid ${process.pid}`);
});
