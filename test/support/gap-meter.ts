import { request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';

// A pod that asks an address again and again, each time on a new connection, and says whenever it is
// another agent that answers: how long nobody did in between, in milliseconds on its own clock.

const { values } = parseArgs({
  options: {
    url: { type: 'string', default: '' },
    token: { type: 'string', default: '' },
    /** Milliseconds between an answer and the next request. */
    pause: { type: 'string', default: '5' },
  },
});

/** Who has answered with 200, if anybody has. */
function ask(): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const asked = request(
    values.url,
    { agent: false, headers: { Authorization: values.token }, timeout: 2_000 },
    (response) => {
      const agent = String(response.headers['x-agent'] ?? 'broker');
      response.on('error', () => resolve(undefined));
      response.on('end', () => resolve(response.statusCode === 200 ? agent : undefined));
      response.resume();
    },
  );
  asked.on('timeout', () => asked.destroy());
  asked.on('error', () => resolve(undefined));
  asked.end();
  return promise;
}

let last: { readonly agent: string; readonly at: number } | undefined;
for (;;) {
  const agent = await ask();
  const at = performance.now();
  if (agent !== undefined) {
    if (agent !== last?.agent) {
      const gap = last && Math.round(at - last.at);
      process.stdout.write(`${JSON.stringify({ agent, gap })}\n`);
    }
    last = { agent, at };
  }
  await pause(Number(values.pause));
}
