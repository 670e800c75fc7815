import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { Socket } from 'node:net';
import { Server as NetServer } from 'node:net';
import type { BoundedLines } from '../telemetry/bounded-lines.ts';
import { type RemoteEnd, turnAwayAtAccept } from './accept.ts';
import { type ErrorAnswer, errorBody, METHOD_NOT_ALLOWED } from './answers.ts';
import { type ConnectionState, prepare, stateOf } from './connection-state.ts';
import type { FirstRequests } from './first-requests.ts';
import type { Sources } from './sources.ts';

/** Longest header section; a token and what SDKs send beside it are a tenth of that. */
const MAX_HEADER_BYTES = 16 * 1024;

/** What one client may cost, and how long. Values in milliseconds where they are times. */
const LIMITS = {
  // Requests without a body, as all of ours are, are spared the stream of one: a tenth of a
  // hit's CPU time. Node.js before 24.12 does not know the option.
  optimizeEmptyRequests: true,
  maxHeaderSize: MAX_HEADER_BYTES,
  // The header section and the whole request; a request has no body.
  headersTimeout: 5_000,
  requestTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
  keepAliveTimeout: 65_000,
  insecureHTTPParser: false,
  requireHostHeader: false,
  noDelay: true,
} as const;

/**
 * Requests of one connection that may wait behind an earlier one. AWS SDKs do not pipeline; the
 * thousands that fit into one read would be answered in one go, and hold everybody else up.
 */
const MAX_PIPELINED = 16;
/**
 * How long an answer may lie in a connection whose client reads nothing, or does not end it where
 * it was the last; twice that at most.
 */
const WRITE_TIMEOUT = 5_000;

/** Status of what cannot be parsed, by the parser's error code; 400 for the others. */
const PARSE_ERROR_STATUS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/** What {@link createHttpServer} needs. */
export interface HttpServerOptions {
  /** Answers a request; must not throw. */
  readonly handler: RequestListener;
  /** A line for what cannot be parsed, where the log has debug lines. */
  readonly lines: BoundedLines | undefined;
  /** Bounds connections, and what each source may hold of them. */
  readonly sources: Sources;
  /** Bounds how many connections make their first request at once. */
  readonly firstRequests: FirstRequests;
  /** Called with the status of an answer to what could not be parsed. */
  readonly onParseError: (status: number) => void;
  /** Whether a connection is one of the broker's own probes, which no bound is for. */
  readonly isProbe: (end: RemoteEnd) => boolean;
  /** Called for a connection that was closed: there were too many, or it asked for too much. */
  readonly onTooMany: () => void;
}

/**
 * An HTTP server with the limits that face pods. What cannot be parsed is answered without
 * the handler, and logged by its code alone: the error itself carries the raw bytes.
 */
export function createHttpServer(options: HttpServerOptions): Server {
  const { handler, lines, sources, firstRequests, isProbe, onParseError, onTooMany } = options;
  const server = createServer(LIMITS, (request, response) => {
    // No socket of its own yet: an earlier request of the connection is still being answered.
    if (response.socket === null && tooManyPipelined(request.socket)) {
      sources.charge(request.socket);
      onTooMany();
      cutOff(request.socket);
      return;
    }
    handler(request, response);
    if (request.socket.writableLength > 0) request.socket.setTimeout(WRITE_TIMEOUT);
  });
  // Anything but 100-continue; Node.js itself would answer it, uncounted, past all limits.
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    sources.charge(request.socket);
    onParseError(417);
    response.writeHead(417, { Connection: 'close', 'Content-Length': 0 }).end();
    discardRest(request.socket);
  });
  // Node.js itself would close the connection without a word, uncounted.
  server.on('connect', (_request: IncomingMessage, socket: Socket) => {
    // From here on the socket is nobody's: its errors would end the process.
    socket.on('error', () => socket.destroy());
    socket.setTimeout(WRITE_TIMEOUT, () => socket.destroy());
    sources.charge(socket);
    onParseError(METHOD_NOT_ALLOWED.status);
    socket.end(lastAnswer(METHOD_NOT_ALLOWED), () => socket.destroy());
  });
  acceptOnly(
    server,
    (socket) => {
      if (sources.connected(socket) || isProbe(socket)) return true;
      onTooMany();
      return false;
    },
    firstRequests,
  );
  turnAwayAtAccept(server, options);
  server.maxHeadersCount = 100;
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    firstRequests.asked(socket);
    sources.charge(socket);
    lines?.write({ code: error.code, address: socket.remoteAddress }, 'request cannot be parsed');
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const status = PARSE_ERROR_STATUS[error.code ?? ''] ?? 400;
    onParseError(status);
    socket.end(lastAnswer({ status, code: 'BadRequest', message: STATUS_CODES[status] ?? '' }));
    // Whoever never ends its side would keep the connection.
    socket.setTimeout(WRITE_TIMEOUT);
  });
  return server;
}

/** The bytes of an answer that ends its connection, where there is no response to write to. */
function lastAnswer(answer: ErrorAnswer): string {
  const body = errorBody(answer);
  const headers = {
    ...answer.headers,
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    Connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status]}\r\n${lines.join('')}\r\n${body}`;
}

/** Ends a connection at once, whatever else has been read from it. */
export function cutOff(socket: Socket): void {
  discardRest(socket);
  socket.destroy();
}

/**
 * Has whatever follows the current request on its connection thrown away, its body included. A
 * read of 64 KiB holds thousands of requests, or chunks of a body, and Node.js hands over every
 * one of them even when the socket was destroyed at the first.
 */
export function discardRest(socket: Socket): void {
  stateOf(socket).discarding = true;
}

/** A socket with the parser that Node.js gives it. */
type ParsedSocket = Socket & {
  parser?: { onIncoming: (request: IncomingMessage, keepAlive: boolean) => number } | null;
};

/**
 * Lets {@link discardRest} stop the parser of a connection: what its `onIncoming` returns becomes
 * llhttp's `on_headers_complete`, where 2 means that what follows is not HTTP (an upgrade).
 */
function guardParser(
  socket: ParsedSocket,
  state: ConnectionState,
  firstRequests: FirstRequests | undefined,
): void {
  const { parser } = socket;
  if (parser == null) return;
  const { onIncoming } = parser;
  parser.onIncoming = (request, keepAlive) => {
    if (state.discarding) return 2;
    if (!state.asked) firstRequests?.asked(socket);
    const result = onIncoming(request, keepAlive);
    return state.discarding ? 2 : result;
  };
}

function tooManyPipelined(socket: Socket): boolean {
  const state = stateOf(socket);
  state.pipelined += 1;
  return state.pipelined > MAX_PIPELINED;
}

/**
 * Has a server close the connections that it is not to accept, before they cost a parser.
 *
 * @param firstRequests - Told of the others, and of their first requests.
 */
export function acceptOnly(
  server: Server,
  admits: (socket: Socket) => boolean,
  firstRequests?: FirstRequests,
): void {
  // Node's own listener gives each connection its parser.
  const [accept] = server.listeners('connection') as [(socket: Socket) => void];
  server.removeAllListeners('connection').on('connection', (socket: Socket) => {
    const state = prepare(socket);
    if (!admits(socket)) {
      socket.destroy();
      return;
    }
    accept.call(server, socket);
    guardParser(socket, state, firstRequests);
    firstRequests?.accepted(socket);
  });
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
