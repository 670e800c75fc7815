import { connect, type Socket } from 'node:net';

// Runs inside a network namespace. Its parent, which is outside, sends it connections that
// it has accepted; each is joined to a port of the namespace's loopback. A socket stays in
// the namespace that it was made in, whoever holds it.

interface Target {
  port: number;
  address: string;
}

process.on('message', ({ port, address }: Target, accepted: Socket | undefined) => {
  // The client was gone before its connection got here.
  if (accepted === undefined) return;
  const inside = connect(port, address);
  accepted.on('error', () => inside.destroy());
  inside.on('error', () => accepted.destroy());
  accepted.pipe(inside).pipe(accepted);
});
process.on('disconnect', () => process.exit());
// Ctrl-C reaches every process of the terminal; the parent may still need this one.
process.on('SIGINT', () => undefined);
