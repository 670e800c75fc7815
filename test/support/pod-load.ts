import { Agent, request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';

// Pods that ask again and again, each on the address and in the way that it was given, until
// standard input ends; then a line of JSON says what came of it. A process of its own, since it
// runs in a pod's network namespace.

const { values } = parseArgs({
  options: {
    /** A credentials address; repeatable. */
    url: { type: 'string', multiple: true, default: [] },
    token: { type: 'string', default: '' },
    /** Clients for each address, of each of the two kinds. */
    clients: { type: 'string', default: '8' },
    /** Milliseconds between an answer and the next request. */
    pause: { type: 'string', default: '0' },
  },
});

let over = false;
let answered = 0;
const failures: Record<string, number> = {};

function ask(url: string, agent: Agent | false): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const failed = (reason: string) => {
    failures[reason] = (failures[reason] ?? 0) + 1;
    resolve();
  };
  const asked = request(
    url,
    { agent, headers: { Authorization: values.token }, timeout: 5_000 },
    (response) => {
      response.on('error', (error: NodeJS.ErrnoException) => failed(`answer ${error.code}`));
      response.on('end', () => {
        if (response.statusCode !== 200) failed(`status ${response.statusCode}`);
        answered += 1;
        resolve();
      });
      response.resume();
    },
  );
  asked.on('timeout', () => asked.destroy(new Error('timeout')));
  asked.on('error', (error: NodeJS.ErrnoException) => {
    const kept = asked.reusedSocket ? ' (kept connection)' : '';
    failed(`${error.code ?? error.message}${kept}`);
  });
  asked.end();
  return promise;
}

async function client(url: string, kept: boolean): Promise<void> {
  const agent = kept && new Agent({ keepAlive: true, maxSockets: 1 });
  while (!over) {
    await ask(url, agent);
    if (values.pause !== '0') await pause(Number(values.pause));
  }
  if (agent !== false) agent.destroy();
}

process.stdin.on('end', () => {
  over = true;
});
process.stdin.resume();
process.stdout.write('started\n');
await Promise.all(
  values.url.flatMap((url) =>
    Array.from({ length: Number(values.clients) }, () => [
      client(url, true),
      client(url, false),
    ]).flat(),
  ),
);
process.stdout.write(`${JSON.stringify({ answered, failures })}\n`);
