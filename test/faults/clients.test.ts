import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import type { BrokerProcess } from '../support/broker-process.ts';
import { ask, type Cluster, given, startCluster, total } from './cluster.ts';

// What hostile and clumsy clients send: slowly, half, several at once, or too much of it.

t.jobs = 2;

/** The service account that credentials were issued for. */
function owner(cluster: Cluster, accessKeyId: string): string | undefined {
  return cluster.calls().find(({ issuedAccessKeyId }) => issuedAccessKeyId === accessKeyId)
    ?.serviceAccount;
}

/** Resident memory, MiB (proc_pid_status(5)). */
function memory({ pid }: BrokerProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024;
}

t.test('clients that are slow, silent or half gone', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const broker = await cluster.broker();
  const { token } = cluster.pod('web');
  await given(t, broker, token);
  const whole = `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${token}\r\n\r\n`;

  const [silent, slow, stuck, halfOpen, halfClosed, reset] = await Promise.all([
    converse(broker, async () => undefined),
    converse(broker, async (socket) => {
      for (const letter of whole) {
        if (socket.destroyed) return;
        socket.write(letter);
        await pause(200);
      }
    }),
    converse(broker, async (socket) => void socket.write(whole.slice(0, 200))),
    // Says that it is done, and has asked nothing.
    converse(broker, async (socket) => void socket.end()),
    converse(broker, async (socket) => void socket.end(whole)),
    converse(broker, async (socket) => {
      socket.write(whole.slice(0, 100));
      await pause(100);
      socket.resetAndDestroy();
    }),
  ]);
  for (const { text, took } of [silent, slow, stuck]) {
    t.match(text, /^(HTTP\/1\.1 408 |$)/);
    t.ok(took > 3_000 && took < 12_000, `closed after ${Math.round(took)} ms`);
  }
  t.equal(halfOpen.text, '');
  t.ok(halfOpen.took < 3_000);
  t.match(halfClosed.text, /^HTTP\/1\.1 200 /, 'who has asked is answered');
  t.equal(reset.text, '');
  t.equal((await ask(broker, token)).status, 200);
  const told = [silent, slow, stuck].filter(({ text }) => text !== '').length;
  t.ok(told >= 2, `${told} are told`);
  const counted = (await broker.metrics()).get('pod_identity_http_response{code="408"}');
  t.ok((counted ?? 0) >= told, `and all are counted: ${counted}`);
});

t.test('answers of a pipeline are those of its requests', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { latency: 100 });
  cluster.associate('web', 'api', 'cold');
  const broker = await cluster.broker();
  const tokens = ['web', 'api', 'cold'].map((account) => cluster.pod(account).token);
  await given(t, broker, tokens[0] as string);
  await given(t, broker, tokens[1] as string);
  const order = Array.from({ length: 15 }, (_, index) => (index * 7) % 3);
  const requests = order.map(
    (pod) =>
      `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${tokens[pod]}\r\n\r\n`,
  );
  const { text } = await converse(broker, async (socket) => {
    socket.write(requests.join(''));
    socket.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n');
  });
  const keys = [...text.matchAll(/"AccessKeyId":"(\w+)"/g)].map(([, key]) => key as string);
  t.strictSame(
    keys.map((key) => owner(cluster, key)),
    order.map((pod) => ['web', 'api', 'cold'][pod]),
  );
  t.equal(cluster.calls('cold').length, 1);
});

t.test('requests within requests', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('outer', 'inner');
  const broker = await cluster.broker({ args: ['-v=trace'] });
  const outer = cluster.pod('outer').token;
  await given(t, broker, outer);
  const inner = cluster.pod('inner').token;
  const smuggled = `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${inner}\r\n\r\n`;
  const chunk = `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`;
  const head = `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${outer}\r\n`;
  for (const [name, bytes] of Object.entries({
    'two lengths': `${head}Content-Length: 0\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    'one length twice': `${head}Content-Length: ${smuggled.length}\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    'two lengths in one': `${head}Content-Length: 0, ${smuggled.length}\r\n\r\n${smuggled}`,
    'a length with a sign': `${head}Content-Length: +${smuggled.length}\r\n\r\n${smuggled}`,
    'a body': `${head}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    'a body in chunks': `${head}Transfer-Encoding: chunked\r\n\r\n${chunk}`,
    'chunks and a length': `${head}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n${chunk}`,
    'a length and chunks': `${head}Content-Length: ${chunk.length}\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`,
    'an odd coding': `${head}Transfer-Encoding: xchunked\r\n\r\n${chunk}`,
    'chunks twice': `${head}Transfer-Encoding: chunked, chunked\r\n\r\n${chunk}`,
    'a space before the colon': `${head}Transfer-Encoding : chunked\r\n\r\n${chunk}`,
    'a chunk of a wrong size': `${head}Transfer-Encoding: chunked\r\n\r\n1\r\n${smuggled}0\r\n\r\n`,
    'a chunk extension': `${head}Transfer-Encoding: chunked\r\n\r\n1;\n${smuggled}\r\nx\r\n0\r\n\r\n`,
    'a folded header': `${head}X-Folded: a\r\n ${smuggled}`,
    'a folded Authorization': `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization:\r\n ${inner}\r\n\r\n`,
    'bare line feeds': `${head.replaceAll('\r\n', '\n')}\n${smuggled.replaceAll('\r\n', '\n')}`,
    'a bare line feed in a header': `${head}X-Split: a\nAuthorization: ${inner}\r\n\r\n`,
    'a bare carriage return': `${head}X-Split: a\rAuthorization: ${inner}\r\n\r\n`,
    'a null byte': `${head}X-Null: a\u0000b\r\n\r\n`,
    'an upgrade': `${head}Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`,
    'the preface of HTTP/2': `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${smuggled}`,
  })) {
    const { text } = await converse(broker, async (socket) => {
      socket.write(bytes, 'latin1');
      await pause(400);
      socket.end();
    });
    const keys = [...text.matchAll(/"AccessKeyId":"(\w+)"/g)].map(([, key]) => key as string);
    const owners = keys.map((key) => owner(cluster, key));
    t.ok(
      owners.every((one) => one === 'outer'),
      `${name}: ${text.slice(0, 40).split('\r\n')[0] || 'closed'}, ${owners.length} bodies`,
    );
    t.ok(owners.length <= 1, `${name}: one request, one answer`);
    t.equal(cluster.calls('inner').length, 0, `${name}: nothing within it is a request`);
  }
  for (const [name, line, status] of [
    ['absolute form', 'GET http://127.0.0.1/v1/credentials HTTP/1.1', /^(404|200)$/],
    [
      'absolute form of another host',
      'GET http://evil.example/v1/credentials HTTP/1.1',
      /^40[34]$/,
    ],
    ['authority form', 'CONNECT 127.0.0.1:443 HTTP/1.1', /^(4\d\d|)$/],
    ['asterisk form', 'OPTIONS * HTTP/1.1', /^40[45]$/],
    ['a path that leads up', 'GET /v1/../v1/credentials HTTP/1.1', /^404$/],
    ['an encoded path', 'GET /v1/%63redentials HTTP/1.1', /^404$/],
    ['two slashes', 'GET //v1/credentials HTTP/1.1', /^404$/],
    ['no version', 'GET /v1/credentials', /^(200|400|)$/],
    ['an odd version', 'GET /v1/credentials HTTP/3.7', /^(400|505|)$/],
  ] as const) {
    const bytes = `${line}\r\nHost: 127.0.0.1\r\nAuthorization: ${inner}\r\nConnection: close\r\n\r\n`;
    const { text } = await converse(broker, async (socket) => void socket.write(bytes));
    t.match(text.slice(9, 12), status, name);
  }
  t.equal((await ask(broker, outer)).status, 200);
  const log = broker.lines.join('\n') + broker.stderr();
  for (const [what, secret] of Object.entries({ outer, inner })) {
    const [, , signature = ''] = secret.split('.');
    t.notOk(log.includes(signature.slice(0, 40)), `no token in the log: ${what}`);
  }
});

t.test('headers that are too long or too many', { buffered: true }, async (t) => {
  const cluster = await startCluster(t);
  cluster.associate('web');
  const broker = await cluster.broker({ args: ['-v=trace'] });
  const { token } = cluster.pod('web');
  await given(t, broker, token);
  const head = `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${token}\r\n`;
  const marker = 'only-the-client-knows-this';
  const many = (count: number) =>
    Array.from({ length: count }, (_, index) => `X-${index}: ${marker}\r\n`).join('');
  for (const [name, bytes, status] of [
    ['a header of 20 KiB', `${head}X-Long: ${marker.repeat(800)}\r\n\r\n`, /^431$/],
    ['5,000 headers', `${head}${many(5_000)}\r\n`, /^431$/],
    ['300 headers', `${head}${many(300)}\r\n`, /^(200|431)$/],
    ['a path of 20 KiB', `GET /${marker.repeat(800)} HTTP/1.1\r\n\r\n`, /^(431|414)$/],
    ['a token of 15 KiB', head.replace(token, marker.repeat(580)).concat('\r\n'), /^400$/],
    ['what is no HTTP', `${marker}\r\n\r\n${marker}`, /^400$/],
    [
      'TLS',
      Buffer.from(`\u0016\u0003\u0001\u0002\u0000${marker}`, 'latin1').toString('latin1'),
      /^400$/,
    ],
    ['a method that there is not', `${marker} / HTTP/1.1\r\n\r\n`, /^400$/],
  ] as const) {
    const { text } = await converse(broker, async (socket) => {
      socket.write(bytes, 'latin1');
      await pause(300);
      socket.end();
    });
    t.match(text.slice(9, 12), status, name);
    t.notMatch(text, marker, 'and nothing of it comes back');
  }
  // Endless headers: what is not read is not kept.
  const before = memory(broker);
  const { text } = await converse(broker, async (socket) => {
    socket.write(head);
    for (let piece = 0; piece < 2_000 && !socket.destroyed; piece += 1) {
      if (!socket.write(`X-${piece}: ${'x'.repeat(16_000)}\r\n`)) {
        const { promise, resolve } = Promise.withResolvers<void>();
        for (const event of ['drain', 'close', 'error']) socket.once(event, () => resolve());
        await promise;
      }
    }
  });
  t.match(text.slice(9, 12), /^(431|)$/);
  t.ok(memory(broker) < before + 60, `${Math.round(before)} → ${Math.round(memory(broker))} MiB`);
  t.equal((await ask(broker, token)).status, 200);
  t.ok((await total(broker, 'pod_identity_http_response')) > 8, 'they are counted');
  const log = broker.lines.join('\n') + broker.stderr();
  t.notMatch(log, marker, 'the log has none of the bytes');
  t.match(log, /HPE_/, 'but the code of what was wrong');
});

/** What came back over a connection, and how long it was open. */
async function converse(
  { port }: Pick<BrokerProcess, 'port'>,
  speak: (socket: Socket) => Promise<void>,
): Promise<{ text: string; took: number }> {
  const started = performance.now();
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.on('error', () => undefined);
  socket.on('end', () => socket.end());
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('close', () => resolve());
  const giveUp = setTimeout(() => socket.destroy(), 20_000);
  await speak(socket);
  await promise;
  clearTimeout(giveUp);
  return { text, took: performance.now() - started };
}
