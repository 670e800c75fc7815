import { createServer } from 'node:http';

// Stands in for another agent on a node: a server that has the pods' addresses and the ports of
// probes and metrics to itself (without SO_REUSEPORT, as a server in Go has them), and answers
// every request at once. It says when it has been started, tries again and again until it has each of
// them, and says that too.

const ADDRESSES = [
  ['169.254.170.23', 80],
  ['fd00:ec2::23', 80],
  ['127.0.0.1', 2703],
  ['0.0.0.0', 2705],
] as const;
/** Milliseconds between two tries. */
const RETRY_INTERVAL = 10;

process.stdout.write('started\n');
await Promise.all(ADDRESSES.map(([host, port]) => listen(host, port)));
process.stdout.write('listening\n');

function listen(host: string, port: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'X-Agent': 'other' }).end('{}');
  });
  const tryToListen = () => server.listen(port, host);
  server.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE') throw error;
    setTimeout(tryToListen, RETRY_INTERVAL);
  });
  server.on('listening', resolve);
  tryToListen();
  return promise;
}
