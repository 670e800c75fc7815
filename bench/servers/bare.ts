import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

// What Node.js can do at best: one look-up of the Authorization header, one answer written
// with its headers in a single write, and none of what a broker has to do besides. Arguments:
// the port, and a JSON file with bodies by token.
const [port, file] = process.argv.slice(2);
const entries = Object.entries(JSON.parse(readFileSync(file ?? '', 'utf8')) as object);
const bodies = new Map<string, string>(entries);

const server = createServer((request, response) => {
  const body = bodies.get(request.headers.authorization ?? '');
  if (body === undefined) {
    response.writeHead(400).end();
    return;
  }
  response.writeHead(200, [
    'Content-Type',
    'application/json',
    'Content-Length',
    String(body.length),
  ]);
  response.end(body, 'latin1');
});
server.listen({ host: '127.0.0.1', port: Number(port), backlog: 4_096 });
process.once('SIGTERM', () => process.exit());
