import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { startSimulator } from '../../../src/simulator/simulator.ts';
import {
  type CollectOptions,
  collectTracesTo,
} from '../../../src/simulator/traces/collect-traces.ts';
import { readTraceFile } from '../../../src/traces/trace-file.ts';
import { otlpRequest, otlpSpan } from '../../traces/otlp.ts';

const JSON_TYPE = 'application/json';
const body = (...ids: number[]) =>
  Buffer.from(JSON.stringify(otlpRequest(...ids.map((id) => otlpSpan(1, id, [1, 2])))));

async function collect(t: Test, options?: CollectOptions) {
  const folder = t.testdir({});
  const file = `${folder}/traces.jsonl`;
  const collecting = await collectTracesTo(file, options);
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= collecting.close();
    return closed;
  };
  t.teardown(close);
  return {
    receiver: collecting.receiver,
    send: (sent: Buffer, headers: Record<string, string> = {}, path = '/v1/traces') =>
      post(`${collecting.url}${path}`, sent, headers),
    async written() {
      await close();
      return { text: readFileSync(file, 'utf8'), spans: (await readTraceFile(file)).spans };
    },
  };
}

function post(
  url: string,
  sent: Buffer,
  headers: Record<string, string>,
  method = 'POST',
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(url, {
      method,
      agent: false,
      headers: { 'Content-Type': JSON_TYPE, ...headers },
    });
    asked.on('error', reject);
    asked.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    asked.end(sent);
  });
}

t.test('a line for each request', async (t) => {
  const { receiver, send, written } = await collect(t);
  const pretty = Buffer.from(JSON.stringify(JSON.parse(body(1, 2).toString()), undefined, 2));
  t.strictSame(await send(pretty), { status: 200, text: '{}' });
  t.strictSame(await send(gzipSync(body(3)), { 'Content-Encoding': 'gzip' }), {
    status: 200,
    text: '{}',
  });
  const json = { 'Content-Type': 'Application/JSON; charset=utf-8' };
  t.match(await send(body(4), json), { status: 200 });
  t.equal(receiver.received, 4);
  const { text, spans } = await written();
  t.equal(text.split('\n').length, 4);
  t.equal(spans.length, 4);
});

t.test('what is not taken', async (t) => {
  const { send, written } = await collect(t, { requestBytes: 5_000 });
  const gzip = { 'Content-Encoding': 'gzip' };
  const refused: [number, Buffer, Record<string, string>][] = [
    [400, Buffer.from('{'), {}],
    [400, Buffer.from('[]'), {}],
    [400, Buffer.from('{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}'), {}],
    [400, Buffer.from('xyz'), { 'Content-Type': 'application/x-protobuf' }],
    [400, body(1), gzip],
    [413, Buffer.alloc(6_000, ' '), {}],
    [413, gzipSync(Buffer.alloc(1_000_000, ' ')), gzip],
    [415, body(1), { 'Content-Type': 'text/plain' }],
    [415, body(1), { 'Content-Encoding': 'br' }],
  ];
  for (const [status, sent, headers] of refused) {
    const answer = await send(sent, headers);
    t.equal(answer.status, status, answer.text);
  }
  t.equal((await send(body(1), {}, '/v1/metrics')).status, 404);
  t.strictSame((await written()).text, '');
});

t.test('no more than fits', async (t) => {
  const { receiver, send, written } = await collect(t, { spans: 3 });
  await send(body(1, 2));
  t.match(JSON.parse((await send(body(3, 4))).text), {
    partialSuccess: { rejectedSpans: 2, errorMessage: String },
  });
  t.strictSame([receiver.received, receiver.dropped], [2, 2]);
  t.equal((await written()).spans.length, 2);
});

t.test('in a simulator, where it is asked for', async (t) => {
  const folder = t.testdir({});
  const traceFile = `${folder}/traces.jsonl`;
  const simulator = await startSimulator({ traceFile });
  t.match(await post(`${simulator.url}/v1/traces`, body(1), {}), { status: 200 });
  t.match(await post(`${simulator.url}/v1/traces`, body(1), {}, 'PUT'), { status: 405 });
  t.strictSame(simulator.audit.events(), [], 'no call of AWS');
  await simulator.close();
  t.equal((await readTraceFile(traceFile)).spans.length, 1);

  const without = await startSimulator();
  t.teardown(() => without.close());
  t.match(await post(`${without.url}/v1/traces`, body(1), {}), { status: 404 });
  await t.rejects(startSimulator({ traceFile: `${folder}/no/such` }), { code: 'ENOENT' });
});
