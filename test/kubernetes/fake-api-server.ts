import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import { ApiClient } from '../../src/kubernetes/api-client.ts';
import { startPool } from '../workers/worker-pool.ts';

/** A server that answers as the test says, and a client for it. */
export interface FakeApiServer {
  readonly client: ApiClient;
  /** Paths with queries that were asked for, so far. */
  readonly asked: string[];
  /** The Authorization headers that came with them. */
  readonly bearers: (string | undefined)[];
}

/** How it answers. */
export type Handler = (url: URL, response: ServerResponse, request: IncomingMessage) => void;

/** Starts one, which ends with the test. */
export async function startFakeApiServer(t: Test, handle: Handler): Promise<FakeApiServer> {
  const asked: string[] = [];
  const bearers: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    bearers.push(request.headers.authorization);
    handle(new URL(request.url ?? '', 'http://api'), response, request);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  let serial = 0;
  const client = new ApiClient(
    {
      request: async (path) => {
        serial += 1;
        return {
          url: `http://127.0.0.1:${port}${path}`,
          timeout: 2_000,
          bearer: `token-${serial}`,
        };
      },
    },
    await startPool(t),
  );
  t.teardown(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { client, asked, bearers };
}
