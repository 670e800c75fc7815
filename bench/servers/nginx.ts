import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../src/simulator/free-port.ts';
import { ask } from '../harness/ask.ts';
import { type Child, ready, startChild } from '../harness/child.ts';
import { scratchDirectory } from '../harness/scratch.ts';
import type { Address } from '../load/one-try.ts';

/** An nginx that answers everything with the same bytes. */
export interface Nginx extends AsyncDisposable {
  readonly pid: number;
  readonly address: Address;
  readonly process: Child;
}

/** The version of the nginx that is installed; undefined where there is none. */
export function nginxVersion(): string | undefined {
  const { stderr, error } = spawnSync('nginx', ['-v'], { encoding: 'utf8' });
  return error === undefined ? /nginx\/(\S+)/.exec(stderr)?.[1] : undefined;
}

/** Starts nginx with one worker and `return 200 body`, without logs and without limits. */
export async function startNginx(body: string, core: number | undefined): Promise<Nginx> {
  const scratch = scratchDirectory('nginx');
  const directory = scratch.path;
  const port = await freePort();
  const file = join(directory, 'nginx.conf');
  writeFileSync(file, configuration(directory, port, body));
  const child = startChild(['nginx', '-p', directory, '-c', file, '-g', 'daemon off;'], { core });
  await ready(child, 'nginx', async () => {
    const answer = await ask(port, { path: '/v1/credentials' }).catch(() => undefined);
    return answer?.body === body;
  });
  return {
    pid: child.pid,
    address: { host: '127.0.0.1', port },
    process: child,
    [Symbol.asyncDispose]: async () => {
      await child[Symbol.asyncDispose]();
      scratch[Symbol.dispose]();
    },
  };
}

function configuration(directory: string, port: number, body: string): string {
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
worker_processes 1;
pid ${directory}/nginx.pid;
error_log stderr;
events { worker_connections 4096; }
http {
  ${kinds.map((kind) => `${kind}_temp_path ${directory}/${kind};`).join(' ')}
  access_log off;
  client_header_buffer_size 4k;
  keepalive_requests 1000000000;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    default_type application/json;
    location = /v1/credentials { return 200 '${body}'; }
  }
}
`;
}
