import t from 'tap';
import { OtlpError, spansOf } from '../../src/traces/otlp-json.ts';
import { attribute, otlpRequest, otlpSpan, spanId, traceId } from './otlp.ts';

t.test('what a collector writes', async (t) => {
  const [span, ...others] = spansOf({
    resourceSpans: [
      {
        resource: { attributes: [attribute('service.name', 'broker')] },
        scopeSpans: [
          {
            scope: { name: 'x' },
            spans: [
              otlpSpan(0xabc, 2, [1_000, 1_250], {
                traceId: traceId(0xabc).toUpperCase(),
                parentSpanId: spanId(1),
                kind: 3,
                attributes: [
                  attribute('text', 'x'),
                  attribute('number', 5),
                  { key: 'flag', value: { boolValue: true } },
                  { key: 'list', value: { arrayValue: { values: [{ intValue: '1' }] } } },
                  { key: 'nothing', value: {} },
                  { key: 'absent' },
                ],
                events: [{ name: 'attempt', timeUnixNano: '1100000000' }],
                links: [{ traceId: traceId(7), spanId: spanId(8) }],
                status: { code: 2, message: 'broken' },
                unknown: { anything: [1] },
              }),
            ],
          },
        ],
      },
      { scopeSpans: [] },
    ],
  });
  t.strictSame(others, []);
  t.match(span, {
    traceId: traceId(0xabc),
    spanId: spanId(2),
    parentId: spanId(1),
    service: 'broker',
    kind: 'client',
    startedAt: 1_000,
    duration: 250,
    events: [{ name: 'attempt', at: 1_100 }],
    links: [{ traceId: traceId(7), spanId: spanId(8) }],
    error: 'broken',
  });
  t.strictSame(Object.fromEntries(span?.attributes ?? []), {
    text: 'x',
    number: 5,
    flag: true,
    list: '{"values":[{"intValue":"1"}]}',
    nothing: '',
    absent: '',
  });
});

t.test('names in place of numbers, and times that run backwards', async (t) => {
  const [span] = spansOf(
    otlpRequest(
      otlpSpan(1, 1, [5, 2], {
        kind: 'SPAN_KIND_SERVER',
        status: { code: 'STATUS_CODE_ERROR' },
        parentSpanId: '',
      }),
    ),
  );
  t.match(span, { kind: 'server', error: '', duration: 0, parentId: undefined });
});

t.test('what is not OTLP', async (t) => {
  const wrong: [string, unknown][] = [
    ['the request is no object', []],
    ['the request is no object', null],
    ['resourceSpans is missing', {}],
    ['resourceSpans is missing', { resourceLogs: [] }],
    ['resourceSpans is no list', { resourceSpans: {} }],
    ['resourceSpans[0] is no object', { resourceSpans: [1] }],
    ['resourceSpans[0].scopeSpans is no list', { resourceSpans: [{ scopeSpans: 'x' }] }],
    ...Object.entries({
      'traceId is not 32 hexadecimal digits': { traceId: 'S/kvNXezTaajzpKdDg5HNg==' },
      'spanId is not 16 hexadecimal digits': { spanId: undefined },
      'parentSpanId is not 16 hexadecimal digits': { parentSpanId: '12' },
      'name is no text': { name: 5 },
      'startTimeUnixNano is no time in nanoseconds': { startTimeUnixNano: '-5' },
      'endTimeUnixNano is no time in nanoseconds': { endTimeUnixNano: null },
      'attributes is no list': { attributes: { a: 1 } },
      'attributes[0].key is no text': { attributes: [{}] },
      'events[0].timeUnixNano is no time in nanoseconds': { events: [{}] },
      'links[0].traceId is not 32 hexadecimal digits': { links: [{ traceId: '<b>' }] },
    }).map(([message, broken]): [string, unknown] => [
      `resourceSpans[0].scopeSpans[0].spans[0].${message}`,
      otlpRequest(otlpSpan(1, 1, [1, 2], broken)),
    ]),
  ];
  for (const [message, request] of wrong) {
    t.throws(() => spansOf(request), new OtlpError(message), message);
  }
});
