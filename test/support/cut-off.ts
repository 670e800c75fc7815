import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A way to a port that can be cut. */
export interface Way {
  /** The port of 127.0.0.1 that it begins at. */
  readonly port: number;
  /** Cuts every connection that there is. */
  cut(): void;
  /** Lets no connection through, and cuts those that there are. */
  close(): void;
  /** Lets connections through again. */
  open(): void;
}

/** Makes a way to a port of 127.0.0.1, which ends with the test. */
export async function wayTo(
  t: { teardown(callback: () => unknown): unknown },
  target: number,
): Promise<Way> {
  const sockets = new Set<Socket>();
  let closed = false;
  const server = createServer((near) => {
    if (closed) {
      near.destroy();
      return;
    }
    const far = connect(target, '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.pipe(other);
      one.on('error', () => one.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  t.teardown(async () => {
    cut();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    close() {
      closed = true;
      cut();
    },
    open() {
      closed = false;
    },
  };
}
