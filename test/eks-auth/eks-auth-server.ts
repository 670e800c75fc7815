import { createHash, createHmac } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Test } from 'tap';

/** A request as it arrived. */
export interface Received {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  /** Counts the connections, from 1. */
  readonly connection: number;
}

export type Respond = (response: http.ServerResponse, request: Received) => void;

/** A server that a test speaks to instead of EKS Auth. */
export interface TestServer {
  readonly url: string;
  readonly port: number;
  readonly received: Received[];
  readonly sockets: Set<Socket>;
  /** What is done with the next requests; to begin with, they are answered with credentials. */
  respond: Respond;
}

/** What EKS Auth answers with. No secret in it is one. */
export const ANSWER = {
  subject: { namespace: 'shop', serviceAccount: 'cart' },
  audience: 'pods.eks.amazonaws.com',
  podIdentityAssociation: {
    associationArn: 'arn:aws:eks:eu-central-1:111122223333:podidentityassociation/c1/a-1',
    associationId: 'a-1',
  },
  assumedRoleUser: {
    arn: 'arn:aws:sts::111122223333:assumed-role/cart/eks-c1-cart-0-1b2c',
    assumeRoleId: 'AROAEXAMPLE:eks-c1-cart-0-1b2c',
  },
  credentials: {
    accessKeyId: 'ASIAEXAMPLE',
    secretAccessKey: 'example-secret',
    sessionToken: 'example-session-token',
    expiration: 1_900_000_000,
  },
};

export const answerWith =
  (status: number, body: unknown, headers: Record<string, string> = {}): Respond =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  };

export const answerError = (
  status: number,
  code: string,
  message: string,
  headers: Record<string, string> = {},
): Respond =>
  answerWith(
    status,
    { message },
    { 'x-amzn-errortype': code, 'x-amzn-requestid': 'r-1', ...headers },
  );

/** Starts a server on loopback that ends with the test. */
export async function startServer(t: Test, tls?: https.ServerOptions): Promise<TestServer> {
  const received: Received[] = [];
  const sockets = new Set<Socket>();
  const numbers = new WeakMap<object, number>();
  let connections = 0;
  const listener: http.RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const one: Received = {
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
        connection: numbers.get(request.socket) ?? 0,
      };
      received.push(one);
      started.respond(response, one);
    });
  };
  const server = tls ? https.createServer(tls, listener) : http.createServer(listener);
  server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => {
    connections += 1;
    numbers.set(socket, connections);
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(async () => {
    server.closeAllConnections();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  const started: TestServer = {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    received,
    sockets,
    respond: answerWith(200, ANSWER, { 'x-amzn-requestid': 'r-1' }),
  };
  return started;
}

const hash = (data: string) => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string) =>
  createHmac('sha256', key).update(data).digest();

/**
 * Computes anew the signature that a request carries (AWS Signature Version 4, "Create a
 * signed AWS API request"), and says what it was signed with.
 */
export function verifySignature(request: Received, secretAccessKey: string) {
  const [, accessKeyId = '', date = '', region = '', service = '', names = '', signature] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=(\S+), Signature=(\w+)$/.exec(
      request.headers.authorization ?? '',
    ) ?? [];
  const signedHeaders = names.split(';');
  const time = String(request.headers['x-amz-date']);
  const canonical = [
    request.method,
    request.url,
    '',
    ...signedHeaders.map((name) => `${name}:${request.headers[name]}`),
    '',
    names,
    hash(request.body),
  ].join('\n');
  const scope = `${date}/${region}/${service}/aws4_request`;
  const key = hmac(
    hmac(hmac(hmac(`AWS4${secretAccessKey}`, date), region), service),
    'aws4_request',
  );
  const expected = hmac(key, ['AWS4-HMAC-SHA256', time, scope, hash(canonical)].join('\n'));
  return {
    valid: expected.toString('hex') === signature,
    accessKeyId,
    region,
    service,
    signedHeaders,
    signedAt: Date.parse(
      time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'),
    ),
  };
}
