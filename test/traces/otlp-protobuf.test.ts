import fc from 'fast-check';
import t from 'tap';
import { OtlpError, spansOf } from '../../src/traces/otlp-json.ts';
import { decodeTraces } from '../../src/traces/otlp-protobuf.ts';

/** A field of a protobuf message: its number, and a number or what it holds. */
function field(number: number, held: bigint | Buffer | string | Buffer[]): Buffer {
  if (typeof held === 'bigint') return Buffer.concat([varint(BigInt(number) << 3n), varint(held)]);
  const bytes = Array.isArray(held) ? Buffer.concat(held) : Buffer.from(held as string);
  const tag = varint((BigInt(number) << 3n) | 2n);
  return Buffer.concat([tag, varint(BigInt(bytes.length)), bytes]);
}

function fixed(number: number, value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  if (typeof value === 'bigint') bytes.writeBigUInt64LE(value);
  else bytes.writeDoubleLE(value);
  return Buffer.concat([varint((BigInt(number) << 3n) | 1n), bytes]);
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let left = BigInt.asUintN(64, value);
  for (; left > 127n; left >>= 7n) bytes.push(Number(left & 127n) | 128);
  return Buffer.from([...bytes, Number(left)]);
}

const TRACE = Buffer.from('4bf92f3577b34da6a3ce929d0e0e4736', 'hex');
const SPAN = Buffer.from('00f067aa0ba902b7', 'hex');
const attribute = (key: string, value: Buffer) => field(9, [field(1, key), field(2, value)]);
const request = (...span: Buffer[]) => field(1, [field(2, [field(2, span)])]);
const MINIMAL = [field(1, TRACE), field(2, SPAN), fixed(7, 1_000_000n), fixed(8, 3_000_000n)];

t.test('a span with all that there is', async (t) => {
  const decoded = decodeTraces(
    request(
      ...MINIMAL,
      field(4, SPAN),
      field(5, 'a näme'),
      field(6, 3n),
      attribute('text', field(1, 'x')),
      attribute('flag', field(2, 1n)),
      attribute('number', field(3, -5n)),
      attribute('fraction', fixed(4, 0.5)),
      attribute('list', field(5, [field(1, field(3, 1n)), field(1, field(3, 2n))])),
      attribute('map', field(6, field(1, [field(1, 'k'), field(2, field(1, 'v'))]))),
      attribute('bytes', field(7, Buffer.from([1, 2]))),
      field(11, [fixed(1, 2_000_000n), field(2, 'event')]),
      field(13, [field(1, TRACE), field(2, SPAN), Buffer.from([(6 << 3) | 5, 1, 0, 0, 0])]),
      field(15, [field(2, 'broken'), field(3, 2n)]),
      field(99, 'of a later version'),
    ),
  );
  const [span] = spansOf(decoded);
  t.match(span, {
    traceId: TRACE.toString('hex'),
    spanId: SPAN.toString('hex'),
    parentId: SPAN.toString('hex'),
    name: 'a näme',
    kind: 'client',
    startedAt: 1,
    duration: 2,
    events: [{ name: 'event', at: 2 }],
    links: [{ traceId: TRACE.toString('hex'), spanId: SPAN.toString('hex') }],
    error: 'broken',
  });
  t.strictSame(Object.fromEntries(span?.attributes ?? []), {
    text: 'x',
    flag: true,
    number: -5,
    fraction: 0.5,
    list: '{"values":[{"intValue":"1"},{"intValue":"2"}]}',
    map: '{"values":[{"key":"k","value":{"stringValue":"v"}}]}',
    bytes: 'AQI=',
  });
});

t.test('an empty request', async (t) => {
  t.strictSame(spansOf(decodeTraces(Buffer.alloc(0))), []);
});

t.test('what is broken', async (t) => {
  const whole = request(...MINIMAL);
  let nested = field(1, 'x');
  for (let depth = 0; depth < 100; depth += 1) nested = field(5, field(1, nested));
  const wrong: [string, Buffer][] = [
    ['the protobuf message is cut off', whole.subarray(0, -1)],
    ['protobuf wire type 3 is not known', Buffer.from([0x0b])],
    ['a protobuf number is too long', Buffer.alloc(20, 0xff)],
    ['a protobuf field has the wrong type', field(1, 5n)],
    ['a protobuf field has the wrong type', request(field(7, 5n))],
    ['a protobuf field has the wrong type', request(field(6, 'x'))],
    ['the protobuf message is nested too deeply', request(attribute('deep', nested))],
  ];
  for (const [message, bytes] of wrong) {
    t.throws(() => decodeTraces(bytes), new OtlpError(message), message);
  }
});

t.test('any bytes are read or refused', async () => {
  const whole = request(...MINIMAL, attribute('text', field(1, 'x')));
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
    fc.tuple(fc.nat(whole.length - 1), fc.nat(255)).map(([at, byte]) => {
      const changed = Buffer.from(whole);
      changed[at] = byte;
      return changed;
    }),
  );
  fc.assert(
    fc.property(bytes, (given) => {
      try {
        spansOf(decodeTraces(given));
        return true;
      } catch (error) {
        return error instanceof OtlpError;
      }
    }),
    { numRuns: 2_000 },
  );
});
