import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A way to a port of 127.0.0.1 on which answers can be held up. */
export interface SlowDoor {
  readonly port: number;
  /** Milliseconds by which each piece of an answer is late; 0 at first. */
  delay: number;
}

/** Opens such a way; it closes with the test. */
export async function openSlowDoor(
  t: { teardown(callback: () => unknown): unknown },
  to: number,
): Promise<SlowDoor> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const behind = connect(to, '127.0.0.1');
    for (const socket of [client, behind]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        behind.destroy();
      });
    }
    client.pipe(behind);
    behind.on('data', (chunk) => {
      setTimeout(() => client.writable && client.write(chunk), door.delay).unref();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const door = { port: (server.address() as AddressInfo).port, delay: 0 };
  return door;
}
