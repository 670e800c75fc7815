import { createServer, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { acceptOnly, discardRest } from './http-server.ts';
import type { Sources } from './sources.ts';

/** Times in milliseconds. Whoever asks here asks for one page, and has nothing to send. */
const LIMITS = {
  maxHeaderSize: 16 * 1_024,
  headersTimeout: 2_000,
  requestTimeout: 2_000,
  connectionsCheckingInterval: 500,
  noDelay: true,
} as const;
/** How long a connection may do nothing, such as not to read its answer. */
const IDLE_TIMEOUT = 5_000;

/** What {@link createOperatorServer} needs. */
export interface OperatorServerOptions {
  /** Answers a request; must not throw. */
  readonly handler: RequestListener;
  /** Bounds those who ask: one connection is one request. */
  readonly sources: Sources;
}

/**
 * An HTTP server for probes and metrics, which pods may reach as well: bounded, so that nobody
 * can use it to take the main thread from requests for credentials. It answers one request a
 * connection, and nothing of what was sent behind that.
 */
export function createOperatorServer({ handler, sources }: OperatorServerOptions): Server {
  const asked = new WeakSet<Socket>();
  const server = createServer(LIMITS, (request, response) => {
    const { socket } = request;
    // The rest of a pipeline: the connection ends with the first answer.
    if (asked.has(socket)) {
      discardRest(socket);
      return;
    }
    asked.add(socket);
    response.setHeader('Connection', 'close');
    handler(request, response);
  });
  acceptOnly(server, (socket) => sources.connected(socket) && sources.admit(socket));
  server.timeout = IDLE_TIMEOUT;
  return server;
}
