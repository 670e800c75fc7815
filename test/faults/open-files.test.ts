import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import t from 'tap';
import { given, holds, startCluster, total } from './cluster.ts';

// A process that may have few files open, and clients that would take all of them.

const MAX_FILES = 256;

t.test('connections do not take all file descriptors', async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('known', 'cold');
  const broker = await cluster.broker({ maxOpenFiles: MAX_FILES });
  const limited = broker.logs().find(({ maxFiles }) => maxFiles !== undefined);
  t.match(limited, { level: 'warn', maxFiles: MAX_FILES, connections: MAX_FILES / 2 });
  const { token } = cluster.pod('known');
  await given(t, broker, token);

  let hoarding = true;
  const open = () => {
    if (!hoarding) return;
    const socket = connect({ port: broker.port, host: '127.0.0.1' });
    t.teardown(() => socket.destroy());
    socket.on('error', () => undefined).resume();
    socket.on('close', () => setTimeout(open, 200).unref());
  };
  for (let count = 0; count < 2 * MAX_FILES; count += 1) open();
  const refused = () => total(broker, 'pod_identity_broker_connections_refused_total');
  t.ok(await holds(async () => (await refused()) > MAX_FILES, 15_000), 'most are refused');

  // A flight needs descriptors of its own, and so do probes and scrapes.
  await given(t, broker, cluster.pod('cold').token);
  t.equal(cluster.calls('cold').length, 1);
  t.equal(await broker.probe('healthz'), 200);
  const files = readdirSync(`/proc/${broker.pid}/fd`).length;
  t.ok(files < MAX_FILES - 32, `${files} of ${MAX_FILES} are open`);
  hoarding = false;
  t.equal(broker.logs().filter(({ level }) => level === 'error' || level === 'fatal').length, 0);
});
