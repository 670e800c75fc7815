import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import t, { type Test } from 'tap';
import { prepare, stateOf } from '../../src/listener/connection-state.ts';

setFlagsFromString('--allow-natives-syntax');
/** Whether two objects have one hidden class. */
const alike = new Function('one', 'other', 'return %HaveSameMap(one, other)') as (
  one: object,
  other: object,
) => boolean;

/** Two connections, as a server accepts them. */
async function accepted(t: Test): Promise<[Socket, Socket]> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const accept = async () => {
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    t.teardown(() => client.destroy());
    const [socket] = (await once(server, 'connection')) as [Socket];
    t.teardown(() => socket.destroy());
    return socket;
  };
  return [await accept(), await accept()];
}

/** What happens to some connections and not to others. */
function live(socket: Socket): void {
  stateOf(socket).waiting += 1;
  socket.setTimeout(5_000);
  stateOf(socket).discarding = true;
}

t.test('sockets are alike, whatever has become of them', async (t) => {
  const [quiet, busy] = await accepted(t);
  for (const socket of [quiet, busy]) prepare(socket);
  t.equal(busy.remoteAddress, '127.0.0.1', 'its address is still read when it is asked for');
  live(busy);
  t.ok(alike(quiet, busy));
});

t.test('and would not be', async (t) => {
  const [quiet, busy] = await accepted(t);
  live(busy);
  t.notOk(alike(quiet, busy));
});
