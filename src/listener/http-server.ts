import { createServer, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { Server as NetServer } from 'node:net';
import type { BoundedLines } from '../telemetry/bounded-lines.ts';
import type { Sources } from './sources.ts';

/** Longest header section; a token and what SDKs send beside it are a tenth of that. */
const MOST_HEADER_BYTES = 16 * 1024;

/** What one client may cost, and how long. Values in milliseconds where they are times. */
const LIMITS = {
  // Requests without a body, as all of ours are, are spared the stream of one: a tenth of a
  // hit's CPU time. Node.js before 24.12 does not know the option.
  optimizeEmptyRequests: true,
  maxHeaderSize: MOST_HEADER_BYTES,
  // The header section and the whole request; a request has no body.
  headersTimeout: 5_000,
  requestTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
  keepAliveTimeout: 65_000,
  insecureHTTPParser: false,
  requireHostHeader: false,
  noDelay: true,
} as const;

/** Status of what cannot be parsed, by the parser's error code; 400 for the others. */
const PARSE_ERROR_STATUS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** What {@link createHttpServer} needs. */
export interface HttpServerOptions {
  readonly handler: RequestListener;
  /** A line for what cannot be parsed, where the log has debug lines. */
  readonly lines: BoundedLines | undefined;
  readonly sources: Sources;
  /** Called with the status of an answer to what could not be parsed. */
  readonly onParseError: (status: number) => void;
  /** Whether a connection is one of the broker's own probes, which no bound is for. */
  readonly isProbe: (socket: Socket) => boolean;
  /** Called for a connection that was closed because there were too many. */
  readonly onTooMany: () => void;
}

/**
 * An HTTP server with the limits that face pods. What cannot be parsed is answered without
 * the handler, and logged by its code alone: the error itself carries the raw bytes.
 */
export function createHttpServer(options: HttpServerOptions): Server {
  const { handler, lines, sources, isProbe, onParseError, onTooMany } = options;
  const server = createServer(LIMITS, handler);
  // Before Node's own listener, which gives each connection a parser.
  const [accept] = server.listeners('connection') as [(socket: Socket) => void];
  server.removeAllListeners('connection').on('connection', (socket: Socket) => {
    if (sources.connected(socket) || isProbe(socket)) {
      accept.call(server, socket);
      return;
    }
    onTooMany();
    socket.destroy();
  });
  server.maxHeadersCount = 100;
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    sources.charge(socket);
    lines?.write({ code: error.code, address: socket.remoteAddress }, 'request cannot be parsed');
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const status = PARSE_ERROR_STATUS[error.code ?? ''] ?? '400 Bad Request';
    const message = status.slice(4);
    const body = JSON.stringify({
      Code: 'BadRequest',
      Message: message,
      code: 'BadRequest',
      message,
    });
    onParseError(Number(status.slice(0, 3)));
    socket.end(
      `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
    );
  });
  return server;
}

/**
 * Stops listening and leaves all connections as they are: `http.Server.close` would also cut
 * those that were accepted and have not asked yet.
 *
 * @param closed - Called when the last connection is gone.
 */
export function stopListening(server: Server, closed: () => void): void {
  NetServer.prototype.close.call(server, closed);
}
