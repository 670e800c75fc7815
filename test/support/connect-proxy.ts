import http from 'node:http';
import net, { type AddressInfo, type Socket } from 'node:net';
import type { Test } from 'tap';

/** A forward proxy for a test. */
export interface ConnectProxy {
  readonly url: string;
  /** The targets of the CONNECT requests, and the URLs of the forwarded ones. */
  readonly asked: string[];
  /** `Proxy-Authorization` of the last request. */
  authorization: string | undefined;
  /** What is answered to CONNECT: 200 and a tunnel, an error status, or nothing at all. */
  mode: 'tunnel' | 407 | 503 | 'silence';
}

/** Starts a proxy on loopback that sends every tunnel to one port of loopback. */
export async function startProxy(t: Test, targetPort: number): Promise<ConnectProxy> {
  const sockets = new Set<Socket>();
  const track = (socket: Socket) => {
    sockets.add(socket);
    return socket.on('error', () => undefined);
  };
  const server = http.createServer((request, response) => {
    proxy.asked.push(String(request.url));
    proxy.authorization = request.headers['proxy-authorization'];
    const { pathname } = new URL(String(request.url));
    const onward = http.request(
      { port: targetPort, path: pathname, method: request.method, headers: request.headers },
      (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      },
    );
    request.pipe(onward);
  });
  server.on('connection', track);
  server.on('connect', (request, socket: Socket) => {
    proxy.asked.push(String(request.url));
    proxy.authorization = request.headers['proxy-authorization'];
    if (proxy.mode === 'silence') return;
    if (proxy.mode !== 'tunnel') {
      socket.end(`HTTP/1.1 ${proxy.mode} No\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    const onward = track(net.connect(targetPort, '127.0.0.1'));
    onward.on('connect', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    socket.on('close', () => onward.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const proxy: ConnectProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: [],
    authorization: undefined,
    mode: 'tunnel',
  };
  return proxy;
}
