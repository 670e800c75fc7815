import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { runProgram } from '../support/broker-process.ts';
import {
  attribute,
  type OtlpSpan,
  otlpRequest,
  otlpSpan,
  spanId,
  traceId,
} from '../traces/otlp.ts';

const LOOKUP = 'pod_identity_broker.lookup';
const line = (...spans: readonly OtlpSpan[]) => `${JSON.stringify(otlpRequest(...spans))}\n`;
const hit = (trace: number) =>
  otlpSpan(trace, 1, [trace, trace + 4], {
    name: 'GET /v1/credentials',
    attributes: [attribute(LOOKUP, 'hit')],
  });
const GOOD = `${line(hit(0xa1))}\n${line(hit(0xa2), hit(0xa1))}`;

t.test('a file of traces', async (t) => {
  const folder = t.testdir({ 'traces.jsonl': GOOD });
  const { code, stdout, stderr } = await runProgram(['traces', `${folder}/traces.jsonl`]);
  t.strictSame({ code, stderr }, { code: 0, stderr: '' });
  t.match(stdout, /^2 traces, 2 spans\n/, 'what was sent twice counts once');
  t.match(stdout, /^GET \/v1\/credentials +2 +4\.00 ms +4\.00 ms +4\.00 ms +0$/m);
  t.match(stdout, `${traceId(0xa1)}  hit`);
});

t.test('how much of it', async (t) => {
  const folder = t.testdir({ file: GOOD });
  const file = `${folder}/file`;
  const none = await runProgram(['traces', file, '--slowest=0']);
  t.notMatch(none.stdout, 'Slowest');
  const one = await runProgram(['traces', file, '--trace-id', traceId(0xa2).toUpperCase()]);
  t.match(one.stdout, `span ${spanId(1)}`);
  t.match(one.stdout, `${LOOKUP} = hit`);
  t.notMatch(one.stdout, traceId(0xa1));
});

t.test('what cannot be shown', async (t) => {
  const folder = t.testdir({
    empty: '',
    none: '{"resourceSpans":[]}\n',
    good: GOOD,
    text: 'hello\n',
    cut: `${GOOD}{"resourceSpans":[{"sc`,
    logs: `${GOOD}{"resourceLogs":[]}\n`,
    binary: Buffer.from([0, 0xff, 0x0a, 0xfe]).toString('latin1'),
    folder: {},
  });
  const wrong: [number, string[], RegExp][] = [
    [1, ['missing'], /missing: no such file$/],
    [1, ['folder'], /folder: is a folder$/],
    [1, ['empty'], /holds no traces$/],
    [1, ['none'], /holds no traces$/],
    [1, ['text'], /text, line 1: not JSON, or cut off$/],
    [1, ['cut'], /cut, line 4: not JSON, or cut off$/],
    [1, ['logs'], /logs, line 4: not OTLP: resourceSpans is missing$/],
    [1, ['binary'], /binary, line 1: not JSON/],
    [1, ['good', '--trace-id=ff'], /holds no trace ff$/],
    [1, ['good', '--trace-id=0'], /^error: 2 traces of .* begin with 0$/],
    [2, ['good', '--trace-id=xyz'], /--trace-id/],
    [2, ['good', '--slowest=-1'], /--slowest/],
    [2, ['good', 'good'], /too many arguments/],
  ];
  for (const [expected, [name, ...flags], complaint] of wrong) {
    const file = `${folder}/${name}`;
    const { code, stdout, stderr } = await runProgram(['traces', file, ...flags]);
    t.strictSame({ code, stdout }, { code: expected, stdout: '' }, [name, ...flags].join(' '));
    t.match(stderr.trimEnd(), complaint);
    t.equal(stderr.split('\n').length, 2, 'one line');
  }
  t.match(await runProgram(['traces']), { code: 2, stderr: /missing required argument/ });
});

t.test('a reader that stops early', async (t) => {
  const many = Array.from({ length: 2_000 }, (_, index) => line(hit(index + 1))).join('');
  const folder = t.testdir({ file: many });
  const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
  const shell = `"${process.execPath}" "${main}" traces "${folder}/file" --slowest 1000 | head -n 1`;
  const { stdout, stderr } = spawnSync('sh', ['-c', shell], { encoding: 'utf8' });
  t.strictSame({ stdout, stderr }, { stdout: '2,000 traces, 2,000 spans\n', stderr: '' });
});
