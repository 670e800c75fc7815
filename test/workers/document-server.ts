import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Test } from 'tap';

/** Answers a request in a way of its own. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A server that gives documents, and misbehaves as told. */
export interface DocumentServer {
  /** `http(s)://127.0.0.1:<port>` */
  readonly url: string;
  /** By path: what is sent as JSON, or what answers; everything else is 404. */
  readonly documents: Map<string, unknown>;
  /** What was asked for, in order. */
  readonly requests: {
    readonly path: string;
    readonly authorization: string | undefined;
    /** The common name of the client's certificate. */
    readonly client: string | undefined;
  }[];
}

/** Starts a server on a free port of 127.0.0.1, until the test is over. */
export async function documentServer(
  t: Pick<Test, 'teardown'>,
  tls?: ServerOptions,
): Promise<DocumentServer> {
  const documents = new Map<string, unknown>();
  const requests: DocumentServer['requests'] = [];
  const answer: RequestListener = (request, response) => {
    const path = request.url ?? '';
    const { authorization } = request.headers;
    const client =
      tls && (request.socket as TLSSocket).getPeerCertificate()?.subject?.CN?.toString();
    requests.push({ path, authorization, client });
    const document = documents.get(path);
    if (typeof document === 'function') (document as Handler)(request, response);
    else if (document === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'Content-Type': 'application/json' }).end(text(document));
  };
  const server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    documents,
    requests,
  };
}

function text(document: unknown): string {
  return typeof document === 'string' ? document : JSON.stringify(document);
}

/** A body that never ends, as fast as it is read. */
export const endless: Handler = (_request, response) => {
  const chunk = Buffer.alloc(16 * 1024, ' ');
  const more = () => {
    while (response.write(chunk));
    response.once('drain', more);
  };
  response.writeHead(200, { 'Content-Type': 'application/json' });
  more();
};

/** The beginning of a body, then the end of the connection. */
export const halfABody: Handler = (_request, response) => {
  response.writeHead(200, { 'Content-Length': '1000' });
  response.write('{"keys":[');
  setImmediate(() => response.destroy());
};

/** Accepted, and never answered. */
export const silence: Handler = () => undefined;

/** As many bytes of JSON as asked for. */
export function document(bytes: number): string {
  return JSON.stringify({ padding: 'x'.repeat(bytes - 14) });
}
