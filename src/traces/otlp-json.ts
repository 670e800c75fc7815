import type { AttributeValue, CollectedSpan, SpanEvent, SpanKind, SpanLink } from './span.ts';

// OTLP as JSON: an ExportTraceServiceRequest, as exporters send it and as the OpenTelemetry
// collector's file exporter writes it. Only what is shown is read; the rest may be anything.
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding

/** What is not OTLP; `message` names the field. */
export class OtlpError extends Error {
  override readonly name = 'OtlpError';
  readonly code = 'ERR_OTLP';
}

type Fields = Readonly<Record<string, unknown>>;

/** By their numbers in OTLP; 0 is "unspecified". */
const KINDS: readonly SpanKind[] = [
  'internal',
  'internal',
  'server',
  'client',
  'producer',
  'consumer',
];
const STATUS_ERROR = 2;

/**
 * The spans of a request.
 *
 * @param request - Parsed JSON.
 * @throws OtlpError
 */
export function spansOf(request: unknown): CollectedSpan[] {
  const spans: CollectedSpan[] = [];
  if (fields(request, 'the request').resourceSpans === undefined) {
    throw new OtlpError('resourceSpans is missing');
  }
  for (const [at, resourceSpans] of each(request, 'resourceSpans', '')) {
    const { resource } = resourceSpans;
    const described = resource === undefined ? undefined : attributes(resource, `${at}.resource`);
    const service = String(described?.get('service.name') ?? '');
    for (const [within, scopeSpans] of each(resourceSpans, 'scopeSpans', `${at}.`)) {
      for (const [where, span] of each(scopeSpans, 'spans', `${within}.`)) {
        spans.push(readSpan(span, where, service));
      }
    }
  }
  return spans;
}

function readSpan(span: Fields, where: string, service: string): CollectedSpan {
  const startedAt = time(span.startTimeUnixNano, `${where}.startTimeUnixNano`);
  const endedAt = time(span.endTimeUnixNano, `${where}.endTimeUnixNano`);
  const parent = span.parentSpanId ?? '';
  const status = span.status === undefined ? {} : fields(span.status, `${where}.status`);
  return {
    traceId: id(span.traceId, 32, `${where}.traceId`),
    spanId: id(span.spanId, 16, `${where}.spanId`),
    parentId: parent === '' ? undefined : id(parent, 16, `${where}.parentSpanId`),
    service,
    name: text(span.name ?? '', `${where}.name`),
    kind: kind(span.kind),
    startedAt,
    duration: Math.max(0, endedAt - startedAt),
    attributes: attributes(span, where),
    events: [...each(span, 'events', `${where}.`)].map(([at, event]) => readEvent(event, at)),
    links: [...each(span, 'links', `${where}.`)].map(([at, link]) => readLink(link, at)),
    error:
      status.code === STATUS_ERROR || status.code === 'STATUS_CODE_ERROR'
        ? text(status.message ?? '', `${where}.status.message`)
        : undefined,
  };
}

function readEvent(event: Fields, where: string): SpanEvent {
  return {
    name: text(event.name ?? '', `${where}.name`),
    at: time(event.timeUnixNano, `${where}.timeUnixNano`),
    attributes: attributes(event, where),
  };
}

function readLink(link: Fields, where: string): SpanLink {
  return {
    traceId: id(link.traceId, 32, `${where}.traceId`),
    spanId: id(link.spanId, 16, `${where}.spanId`),
  };
}

/** Numbers in OTLP; their names where it was written by other tools. */
function kind(value: unknown): SpanKind {
  const named = KINDS.find((name) => value === `SPAN_KIND_${name.toUpperCase()}`);
  return named ?? KINDS[Number(value)] ?? 'internal';
}

function attributes(holder: unknown, where: string): Map<string, AttributeValue> {
  const read = new Map<string, AttributeValue>();
  for (const [at, { key, value }] of each(holder, 'attributes', `${where}.`)) {
    read.set(text(key, `${at}.key`), attributeValue(value));
  }
  return read;
}

/** The one member of an `AnyValue`. 64-bit integers are text in JSON. */
function attributeValue(value: unknown): AttributeValue {
  if (typeof value !== 'object' || value === null) return '';
  const [[type, held] = ['', '']] = Object.entries(value);
  if (type === 'intValue' || type === 'doubleValue') {
    const number = Number(held);
    return Number.isFinite(number) ? number : String(held);
  }
  if (typeof held === 'string' || typeof held === 'boolean') return held;
  return JSON.stringify(held ?? '');
}

/** The members of a list, which may be absent, with where they stand. */
function* each(holder: unknown, name: string, prefix: string): Generator<[string, Fields]> {
  const list = fields(holder, prefix.slice(0, -1))[name];
  if (list === undefined || list === null) return;
  if (!Array.isArray(list)) throw new OtlpError(`${prefix}${name} is no list`);
  for (const [index, member] of list.entries()) {
    const where = `${prefix}${name}[${index}]`;
    yield [where, fields(member, where)];
  }
}

function fields(value: unknown, where: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw new OtlpError(`${where} is no object`);
}

function text(value: unknown, where: string): string {
  if (typeof value === 'string') return value;
  throw new OtlpError(`${where} is no text`);
}

function id(value: unknown, digits: number, where: string): string {
  const read = typeof value === 'string' ? value.toLowerCase() : '';
  if (read.length === digits && /^[0-9a-f]+$/.test(read)) return read;
  throw new OtlpError(`${where} is not ${digits} hexadecimal digits`);
}

/** Nanoseconds since the Unix epoch, in milliseconds. */
function time(value: unknown, where: string): number {
  const read = typeof value === 'string' || typeof value === 'number' ? String(value) : '';
  if (/^\d{1,20}$/.test(read)) return Number(read) / 1e6;
  throw new OtlpError(`${where} is no time in nanoseconds`);
}
