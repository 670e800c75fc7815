import { OtlpError } from './otlp-json.ts';

// OTLP as protobuf, turned into OTLP as JSON. Messages and their field numbers:
// https://github.com/open-telemetry/opentelemetry-proto (trace.proto, common.proto,
// resource.proto, trace_service.proto). The encoding: https://protobuf.dev/programming-guides/encoding/

type Scalar = 'text' | 'hex' | 'base64' | 'number' | 'int64' | 'boolean' | 'double' | 'fixed64';
type Field = readonly [name: string, type: Scalar | (() => Message), repeated?: 'repeated'];
/** Fields by number; those that are not named are skipped. */
type Message = Readonly<Record<number, Field>>;

const REPEATED = 'repeated';
const anyValue: Message = {
  1: ['stringValue', 'text'],
  2: ['boolValue', 'boolean'],
  3: ['intValue', 'int64'],
  4: ['doubleValue', 'double'],
  5: ['arrayValue', () => ({ 1: ['values', () => anyValue, REPEATED] })],
  6: ['kvlistValue', () => ({ 1: ['values', () => keyValue, REPEATED] })],
  7: ['bytesValue', 'base64'],
};
const keyValue: Message = { 1: ['key', 'text'], 2: ['value', () => anyValue] };
const attributes: Field = ['attributes', () => keyValue, REPEATED];
const event: Message = { 1: ['timeUnixNano', 'fixed64'], 2: ['name', 'text'], 3: attributes };
const link: Message = { 1: ['traceId', 'hex'], 2: ['spanId', 'hex'], 4: attributes };
const status: Message = { 2: ['message', 'text'], 3: ['code', 'number'] };
const span: Message = {
  1: ['traceId', 'hex'],
  2: ['spanId', 'hex'],
  3: ['traceState', 'text'],
  4: ['parentSpanId', 'hex'],
  5: ['name', 'text'],
  6: ['kind', 'number'],
  7: ['startTimeUnixNano', 'fixed64'],
  8: ['endTimeUnixNano', 'fixed64'],
  9: attributes,
  11: ['events', () => event, REPEATED],
  13: ['links', () => link, REPEATED],
  15: ['status', () => status],
};
const scope: Message = { 1: ['name', 'text'], 2: ['version', 'text'], 3: attributes };
const scopeSpans: Message = { 1: ['scope', () => scope], 2: ['spans', () => span, REPEATED] };
const resourceSpans: Message = {
  1: ['resource', () => ({ 1: attributes })],
  2: ['scopeSpans', () => scopeSpans, REPEATED],
};
const request: Message = { 1: ['resourceSpans', () => resourceSpans, REPEATED] };

/** Deeper than any span is; attributes could nest without end. */
const MAX_DEPTH = 32;

/**
 * Reads an ExportTraceServiceRequest.
 *
 * @returns The same as OTLP JSON.
 * @throws OtlpError
 */
export function decodeTraces(bytes: Buffer): Record<string, unknown> {
  const decoded = decode(bytes, request, 0);
  decoded.resourceSpans ??= [];
  return decoded;
}

function decode(bytes: Buffer, message: Message, depth: number): Record<string, unknown> {
  if (depth > MAX_DEPTH) throw new OtlpError('the protobuf message is nested too deeply');
  const read: Record<string, unknown> = {};
  const reader = new Reader(bytes);
  while (!reader.done) {
    const tag = reader.varint();
    const payload = reader.payload(Number(tag & 7n));
    const [name, type, repeated] = message[Number(tag >> 3n)] ?? [];
    if (name === undefined || type === undefined) continue;
    const value =
      typeof type === 'string' ? scalar(payload, type) : decode(block(payload), type(), depth + 1);
    if (repeated === undefined) {
      read[name] = value;
      continue;
    }
    const list = read[name];
    if (Array.isArray(list)) list.push(value);
    else read[name] = [value];
  }
  return read;
}

function scalar(payload: Buffer | bigint, type: Scalar): unknown {
  switch (type) {
    case 'text':
      return block(payload).toString('utf8');
    case 'hex':
    case 'base64':
      return block(payload).toString(type);
    case 'double':
      return fixed(payload).readDoubleLE();
    case 'fixed64':
      return String(fixed(payload).readBigUInt64LE());
    case 'number':
      return Number(integer(payload));
    case 'int64':
      return String(BigInt.asIntN(64, integer(payload)));
    case 'boolean':
      return integer(payload) !== 0n;
  }
}

function block(payload: Buffer | bigint): Buffer {
  if (typeof payload === 'bigint') throw new OtlpError('a protobuf field has the wrong type');
  return payload;
}

function fixed(payload: Buffer | bigint): Buffer {
  const bytes = block(payload);
  if (bytes.length !== 8) throw new OtlpError('a protobuf field has the wrong type');
  return bytes;
}

function integer(payload: Buffer | bigint): bigint {
  if (typeof payload !== 'bigint') throw new OtlpError('a protobuf field has the wrong type');
  return payload;
}

/** Reads one message from its beginning to its end. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const [byte = 0] = this.#take(1);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new OtlpError('a protobuf number is too long');
  }

  /** What follows a tag, by its wire type: a number, or bytes. */
  payload(wireType: number): Buffer | bigint {
    if (wireType === 0) return this.varint();
    if (wireType === 1) return this.#take(8);
    if (wireType === 2) return this.#take(Number(this.varint()));
    if (wireType === 5) return this.#take(4);
    throw new OtlpError(`protobuf wire type ${wireType} is not known`);
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new OtlpError('the protobuf message is cut off');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}
