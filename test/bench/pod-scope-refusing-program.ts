import { createServer } from 'node:http';

// A program with the command line of the broker that is ready at once, and gives everybody the
// same credentials, but for pod scope: there it refuses all.
const flag = (name: string) =>
  process.argv.find((word) => word.startsWith(`--${name}=`))?.slice(name.length + 3);
const refuses = flag('session-scope') === 'pod';
const credentials = JSON.stringify({ AccessKeyId: 'ASIAWRONG' });
for (const name of ['port', 'probe-port']) {
  createServer((_request, response) => {
    response.statusCode = refuses && name === 'port' ? 400 : 200;
    response.setHeader('Content-Length', credentials.length);
    response.end(credentials);
  }).listen(Number(flag(name)), '127.0.0.1');
}
