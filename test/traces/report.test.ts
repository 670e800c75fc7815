import t from 'tap';
import { spansOf } from '../../src/traces/otlp-json.ts';
import { tracePage } from '../../src/traces/page.ts';
import { selectTraces } from '../../src/traces/selection.ts';
import { summarizeKinds, summarizeSpans } from '../../src/traces/summary.ts';
import { terminalReport, terminalTrace } from '../../src/traces/terminal.ts';
import { gatherTraces, type Trace } from '../../src/traces/trace.ts';
import { attribute, type OtlpSpan, otlpRequest, otlpSpan, spanId, traceId } from './otlp.ts';

const HOSTILE = `<script>alert(1)</script>"'&\u202e\x1b[31m`;
const CONTROL = ['\u202e', '\x1b'];
const LOOKUP = 'pod_identity_broker.lookup';

const traces = (...spans: readonly OtlpSpan[]) => gatherTraces(spansOf(otlpRequest(...spans)));
const shape = ({ rows }: Trace) => rows.map(({ span, depth }) => `${depth} ${span.name}`);

/** A request of the broker. */
function request(id: number, lookup: string, milliseconds: number, more: OtlpSpan = {}): OtlpSpan {
  return otlpSpan(id, 1, [id * 1_000, id * 1_000 + milliseconds], {
    name: 'GET /v1/credentials',
    kind: 2,
    attributes: [attribute(LOOKUP, lookup), attribute('http.response.status_code', 200)],
    ...more,
  });
}

t.test('spans below their parents, by their start', async (t) => {
  const [trace] = traces(
    otlpSpan(1, 4, [30, 31], { parentSpanId: spanId(2) }),
    otlpSpan(1, 3, [15, 18], { parentSpanId: spanId(1) }),
    otlpSpan(1, 2, [12, 40], { parentSpanId: spanId(1) }),
    otlpSpan(1, 1, [10, 20]),
  );
  t.strictSame(shape(trace as Trace), ['0 span 1', '1 span 2', '2 span 4', '1 span 3']);
  t.match(trace, { startedAt: 10, duration: 30, kind: 'other' });
});

t.test('parents that are missing, or in a circle', async (t) => {
  const [trace] = traces(
    otlpSpan(1, 1, [10, 20], { parentSpanId: spanId(9) }),
    otlpSpan(1, 2, [11, 12], { parentSpanId: spanId(3) }),
    otlpSpan(1, 3, [12, 13], { parentSpanId: spanId(2) }),
    otlpSpan(1, 4, [13, 14], { parentSpanId: spanId(4) }),
  );
  t.strictSame(shape(trace as Trace), ['0 span 1', '0 span 2', '1 span 3', '0 span 4']);
});

t.test('a chain of spans without end', async (t) => {
  const chain = Array.from({ length: 20_000 }, (_, index) =>
    otlpSpan(1, index + 2, [index, 30_000], { parentSpanId: spanId(index + 1) }),
  );
  const all = traces(...chain);
  t.equal(all[0]?.rows.length, 20_000);
  t.match(terminalReport(all, { width: 80, slowest: 1 }), 'and 19,800 more spans');
  t.match(tracePage(all, { title: 'x' }), 'and 19,800 more spans');
});

t.test('kinds', async (t) => {
  const status = (code: number) => [attribute('http.response.status_code', code)];
  const all = traces(
    ...['hit', 'joined', 'miss', 'stale'].map((lookup, index) => request(index + 1, lookup, 5)),
    otlpSpan(5, 1, [5_000, 5_001], { name: 'renew session' }),
    request(6, 'miss', 5, { attributes: status(404) }),
    request(7, 'miss', 5, { attributes: status(503), status: { code: 2 } }),
    otlpSpan(8, 1, [8_000, 8_001]),
  );
  t.strictSame(
    all.map(({ kind }) => kind),
    ['hit', 'joined', 'miss', 'stale', 'renewal', 'refused', 'failed', 'other'],
  );
  t.strictSame(
    summarizeKinds(all).map(({ name, errors }) => [name, errors]),
    all.map(({ kind }) => [kind, kind === 'failed' ? 1 : 0]),
  );
});

t.test('figures', async (t) => {
  const all = traces(
    ...Array.from({ length: 100 }, (_, index) => request(index + 1, 'hit', index + 1)),
    otlpSpan(500, 1, [0, 7], { name: 'one', status: { code: 2 } }),
  );
  t.strictSame(summarizeSpans(all), [
    { name: 'GET /v1/credentials', count: 100, p50: 50, p99: 99, max: 100, errors: 0 },
    { name: 'one', count: 1, p50: 7, p99: 7, max: 7, errors: 1 },
  ]);
  t.strictSame(summarizeSpans([]), []);
});

t.test('one of each kind, the slowest, and what they link to', async (t) => {
  const link = { links: [{ traceId: traceId(3), spanId: spanId(1) }] };
  const all = traces(
    request(1, 'joined', 500, link),
    request(2, 'miss', 900),
    request(3, 'miss', 5),
    request(4, 'miss', 10, { status: { code: 1 } }),
    otlpSpan(5, 1, [5_000, 5_100], { name: 'renew session', status: { code: 2 } }),
    otlpSpan(6, 1, [6_000, 6_001], { name: 'renew session' }),
    otlpSpan(7, 1, [7_000, 7_200], { name: 'renew session', status: { code: 2 } }),
  );
  const { typical, slowest, linked } = selectTraces(all, 2);
  const ids = (of: readonly Trace[]) => of.map(({ id }) => Number.parseInt(id, 16));
  t.strictSame(ids(typical), [1, 4, 6], 'of a usual duration, and without an error');
  t.strictSame(ids(slowest), [2, 1]);
  t.strictSame(ids(linked), [3]);
});

t.test('links lead to where they say', async (t) => {
  const all = traces(
    request(1, 'miss', 90),
    request(2, 'joined', 50, {
      links: [
        { traceId: traceId(1), spanId: spanId(1) },
        { traceId: traceId(77), spanId: spanId(78) },
      ],
    }),
  );
  const page = tracePage(all, { title: 'Links' });
  const target = `s-${traceId(1)}-${spanId(1)}`;
  t.match(page, `<a href="#${target}">GET /v1/credentials of 00000000</a>`);
  t.match(page, ` id="${target}"`);
  t.match(page, `span <code>${spanId(78)}</code> of trace <code>${traceId(77)}</code>, which is`);
  t.match(page, '1 link to this span');
  const anchors = [...page.matchAll(/href="#([^"]*)"/g)].map(([, id]) => id);
  t.ok(anchors.length > 0);
  for (const id of anchors) t.match(page, ` id="${id}"`);
  t.equal(new Set(page.match(/ id="[^"]*"/g)).size, page.match(/ id="[^"]*"/g)?.length);
});

t.test('what a request without credentials was answered, and each attempt and pause', async (t) => {
  const own = (name: string) => `pod_identity_broker.${name}`;
  const call = otlpSpan(1, 2, [1_010, 1_090], {
    name: 'EKSAuth.AssumeRoleForPodIdentity',
    kind: 3,
    parentSpanId: spanId(1),
    events: [
      {
        name: 'attempt',
        timeUnixNano: '1010000000',
        attributes: [attribute(own('duration_ms'), 20), attribute('error.type', 'Throttled')],
      },
      {
        name: 'back-off',
        timeUnixNano: '1030000000',
        attributes: [attribute(own('pause_ms'), 30)],
      },
      { name: 'back-off', timeUnixNano: '1080000000', attributes: [attribute(own('pause_ms'), 0)] },
    ],
  });
  const refused = request(1, 'miss', 100, {
    attributes: [
      attribute('http.response.status_code', 404),
      attribute(own('refusal'), 'NoAssociation'),
    ],
  });
  const verified = otlpSpan(1, 3, [1_000, 1_002], {
    name: 'verify token',
    parentSpanId: spanId(1),
    attributes: [attribute(own('reason'), 'too old')],
    status: { code: 2 },
  });
  const all = traces(refused, call, verified);
  const page = tracePage(all, { title: 'x' });
  t.match(page, '<b>refused</b><span class="bad">404 NoAssociation</span>');
  t.match(page, 'class="part missed" style="left:min(10.000%,100% - 3px);width:20.000%"');
  t.match(page, 'class="part pause" style="left:min(30.000%,100% - 3px);width:30.000%"');
  t.match(page, 'class="part pause" style="left:min(80.000%,100% - 3px);width:0.000%"');
  t.notMatch(page, /\.(?:pause|tick) \{[^}]*min-width: 0/, 'one without length is seen, too');
  const text = terminalReport(all, { width: 100, slowest: 1 });
  t.match(text, 'refused  404 NoAssociation');
  t.match(text, /▒{5,}░{5,}█+/, 'an attempt, a pause, and waiting');
  t.match(text, '✗ verify token: reason=too old');
});

t.test('text that means harm', async (t) => {
  const all = traces(
    request(1, 'hit', 5, {
      name: HOSTILE,
      attributes: [attribute(HOSTILE, HOSTILE), attribute('k8s.namespace.name', HOSTILE)],
      events: [{ name: HOSTILE, timeUnixNano: '1', attributes: [attribute(HOSTILE, HOSTILE)] }],
      status: { code: 2, message: HOSTILE },
      links: [{ traceId: traceId(1), spanId: spanId(1) }],
    }),
  );
  const page = tracePage(all, { title: HOSTILE });
  for (const harm of ['<script', 'alert(1)<', ...CONTROL]) t.notOk(page.includes(harm));
  t.match(page, '&#60;script&#62;');
  t.match(page, `content="default-src 'none'; style-src 'unsafe-inline'"`);
  for (const text of [
    terminalReport(all, { width: 80, slowest: 1 }),
    terminalTrace(all[0] as Trace, 80),
  ]) {
    for (const harm of CONTROL) t.notOk(text.includes(harm));
  }
});

t.test('a terminal that is narrow, spans that take no time', async (t) => {
  const all = traces(
    otlpSpan(1, 1, [5, 5], { name: 'x'.repeat(300) }),
    otlpSpan(1, 2, [5, 5], { parentSpanId: spanId(1) }),
  );
  const report = terminalReport(all, { width: 10, slowest: 1 });
  t.match(report, '0 ms');
  const bars = report.split('\n').filter((line) => line.includes('█'));
  t.ok(bars.every((line) => line.length <= 60));
  t.match(tracePage([], { title: 'Nothing' }), 'There are none.');
});
