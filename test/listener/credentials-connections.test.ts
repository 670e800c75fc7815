import t from 'tap';
import { ask } from '../support/ask.ts';
import { until } from '../support/until.ts';
import { checkError } from './error-answer.ts';
import { type InProcessBroker, startInProcess } from './in-process-broker.ts';
import { exchange, lines, type RawAnswer, RawClient } from './raw-client.ts';

const PATH = '/v1/credentials';

let broker: InProcessBroker;
let good: string;
t.before(async () => {
  broker = await startInProcess(t);
  good = broker.token();
  // From here on keys are proven, and `shop/cart` has its session.
  await until(async () => (await get(good)).status === 200, 'its session');
});
t.afterEach(() => broker.simulator.faults.clear());

function get(token: string | undefined, headers: Readonly<Record<string, string>> = {}) {
  return ask(broker.port, PATH, 'GET', {
    ...(token !== undefined && { Authorization: token }),
    ...headers,
  });
}

t.test('HTTP/1.0 with Host is answered, and the connection ends', async (t) => {
  const client = await RawClient.open(broker.port);
  client.send(lines(`GET ${PATH} HTTP/1.0`, 'Host: 127.0.0.1', `Authorization: ${good}`));
  t.equal((await client.answer()).status, 200);
  await client.end();
});

t.test('a header section of over 16 KiB: 431', async (t) => {
  const padded = (bytes: number) => {
    const whole = (padding: string) =>
      lines(
        `GET ${PATH} HTTP/1.1`,
        'Host: 127.0.0.1',
        `Authorization: ${good}`,
        `X-Padding: ${padding}`,
      );
    return whole('x'.repeat(bytes - whole('').length));
  };
  t.equal((await exchange(broker.port, padded(15 * 1024))).status, 200, '15 KiB');
  checkError(t, await exchange(broker.port, padded(17 * 1024)), 431, /./, '17 KiB');
  checkError(t, await exchange(broker.port, padded(200 * 1024)), 431, /./, '200 KiB');
  const many = Array.from({ length: 3_000 }, (_, index) => `X-${index}: y`);
  checkError(
    t,
    await exchange(broker.port, lines(`GET ${PATH} HTTP/1.1`, 'Host: 127.0.0.1', ...many)),
    431,
    /./,
    'many headers',
  );
  const long = lines(`GET ${PATH}?${'x'.repeat(17 * 1024)} HTTP/1.1`, 'Host: 127.0.0.1');
  checkError(t, await exchange(broker.port, long), 431, /./, 'a long target');
});

t.test('what is no HTTP: 400, and the end of the connection', async (t) => {
  const head = [`GET ${PATH} HTTP/1.1`, 'Host: 127.0.0.1', `Authorization: ${good}`];
  for (const [name, bytes] of [
    ['text', 'Zq7Xw9 what is this\r\n\r\n'],
    ['TLS', Buffer.from('1603010200010001fc0303', 'hex').toString('latin1') + 'x'.repeat(60)],
    ['zeros', '\0'.repeat(64)],
    ['two lengths', lines(...head, 'Content-Length: 0', 'Content-Length: 5')],
    ['a length and chunks', lines(...head, 'Content-Length: 5', 'Transfer-Encoding: chunked')],
    ['a length that is none', lines(...head, 'Content-Length: x')],
    ['a negative length', lines(...head, 'Content-Length: -1')],
    ['an unknown transfer coding', lines(...head, 'Transfer-Encoding: chunked, x')],
    ['a folded header', lines(...head, 'X-Folded: a', ' b')],
    ['a header without a colon', lines(...head, 'Zq7Xw9')],
    ['a blank before the colon', lines(...head, 'X-Blank : a')],
    ['a zero in a header', lines(...head, 'X-Zero: a\0b')],
    ['bare line feeds', `${head.join('\n')}\n\n`],
    ['bare carriage returns', `${head.join('\r')}\r\r`],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['HTTP/9.9', lines(`GET ${PATH} HTTP/9.9`, 'Host: 127.0.0.1')],
    ['a blank in the target', lines(`GET ${PATH} x HTTP/1.1`, 'Host: 127.0.0.1')],
  ] as const) {
    const client = await RawClient.open(broker.port);
    client.send(bytes);
    client.halfClose();
    await client.end();
    t.notMatch(client.rest, 'SecretAccessKey', name);
    t.match(client.rest, /^HTTP\/1\.1 400 Bad Request\r\n/, name);
    t.notMatch(client.rest, 'Zq7Xw9', `${name}: not quoted`);
    const [, body = ''] = client.rest.split('\r\n\r\n');
    t.match(JSON.parse(body), { Code: /./, Message: /./, code: /./, message: /./ }, name);
  }
  const said = broker.lines.filter(({ msg }) => msg === 'request cannot be parsed');
  t.ok(said.length >= 10);
  t.ok(said.every(({ code }) => /^(HPE|ERR)_/.test(code)));
  t.notMatch(JSON.stringify(said), /Zq7Xw9|rawPacket/, 'logged by their codes alone');
});

t.test('a request with a body is refused, and its connection ends', async (t) => {
  const head = [`GET ${PATH} HTTP/1.1`, 'Host: 127.0.0.1', `Authorization: ${good}`];
  const hidden = lines(...head);
  for (const [name, bytes] of Object.entries({
    'with a length': `${lines(...head, `Content-Length: ${hidden.length}`)}${hidden}`,
    chunked: `${lines(...head, 'Transfer-Encoding: chunked')}5\r\nhello\r\n0\r\n\r\n${hidden}`,
  })) {
    const client = await RawClient.open(broker.port);
    t.teardown(() => client.close());
    client.send(bytes);
    const answer = await client.answer();
    t.match(answer, { status: 400, body: { message: /no body/ } }, name);
    t.equal(answer.headers.connection, 'close');
    await t.rejects(client.answer(), `${name}: what was hidden in it was not asked for`);
  }
  const client = await RawClient.open(broker.port);
  t.teardown(() => client.close());
  client.send(lines(...head, 'Content-Length: 0'));
  t.equal((await client.answer()).status, 200, 'a length of nothing is no body');
});

t.test('a connection is kept, and answers come in the order of the requests', async (t) => {
  const client = await RawClient.open(broker.port);
  t.teardown(() => client.close());
  const request = (path: string, token = good) =>
    lines(`GET ${path} HTTP/1.1`, 'Host: 127.0.0.1', `Authorization: ${token}`);
  for (let count = 0; count < 3; count++) {
    client.send(request(PATH));
    const answer = await client.answer();
    t.equal(answer.status, 200);
    t.not(answer.headers.connection, 'close');
  }
  // The second has to be fetched, so that the third is ready before it.
  broker.simulator.faults.add({ kind: 'slow', delay: 100, calls: 1 });
  broker.simulator.associations.create({
    namespace: 'shop',
    serviceAccount: 'pipelined',
    roleArn: 'arn:aws:iam::111122223333:role/pipelined',
  });
  client.send(
    request(PATH) + request(PATH, broker.token('pipelined')) + request('/other') + request(PATH),
  );
  const answers: RawAnswer[] = [];
  while (answers.length < 4) answers.push(await client.answer());
  t.strictSame(
    answers.map(({ status }) => status),
    [200, 200, 404, 200],
  );
  t.notSame(answers[1]?.text, answers[0]?.text);
  t.equal(answers[3]?.text, answers[0]?.text);
  t.equal(client.rest, '');
});

t.test('a request that comes in pieces', async (t) => {
  const client = await RawClient.open(broker.port);
  t.teardown(() => client.close());
  const whole = lines(`GET ${PATH} HTTP/1.1`, 'Host: 127.0.0.1', `Authorization: ${good}`);
  for (const piece of whole.match(/[\s\S]{1,97}/g) ?? []) {
    client.send(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal((await client.answer()).status, 200);
});

t.test('who hangs up leaves no trace', async (t) => {
  for (let count = 0; count < 20; count++) {
    const client = await RawClient.open(broker.port);
    client.send(lines(`GET ${PATH} HTTP/1.1`, 'Host: 127.0.0.1', `Authorization: ${good}`));
    client.close();
  }
  t.equal((await get(good)).status, 200);
  t.notOk(broker.lines.some(({ level }) => level === 'error'));
});
