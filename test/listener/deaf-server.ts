import { createServer } from 'node:net';
import { parentPort } from 'node:worker_threads';

// A worker thread that listens and never accepts: its queue of connections is one long, and
// what comes when it is full is answered by nobody, as on an address that was lost.
const server = createServer();
server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
  parentPort?.postMessage(server.address());
  // The loop that would accept has nothing to do with a thread that stands still.
  setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
});
