import fc from 'fast-check';

/** Bytes in pieces, as they shall be sent. */
export type Pieces = readonly Uint8Array[];

/** What requests are made from. */
export interface Ingredients {
  readonly good: string;
  /** Tokens that are not good. */
  readonly bad: readonly string[];
  readonly host: string;
}

/** Bytes that mean something to somebody. */
const TELLING = [
  ...[0x00, 0x09, 0x0a, 0x0b, 0x0d, 0x20, 0x22, 0x25, 0x2c, 0x2f],
  ...[0x3a, 0x3b, 0x3f, 0x40, 0x5c, 0x7f, 0x80, 0xc0, 0xe9, 0xff],
];

/** Beginnings of other protocols, and of this one. */
const BEGINNINGS = [
  '',
  'GET ',
  'GET /v1/credentials HTTP/1.1\r\n',
  'POST /v1/credentials HTTP/1.1\r\nContent-Length: ',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'CONNECT 127.0.0.1:80 HTTP/1.1\r\n',
  '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001',
  'PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n',
  '\r\n\r\n',
];

const byte = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(...TELLING));

/** Bytes without any plan. */
export const noise: fc.Arbitrary<Uint8Array> = fc
  .tuple(fc.constantFrom(...BEGINNINGS), fc.array(byte, { maxLength: 600 }))
  .map(([beginning, bytes]) => Buffer.concat([latin1(beginning), Uint8Array.from(bytes)]));

/** Requests put together from parts that fit and parts that do not. */
export function assembled({ good, bad, host }: Ingredients): fc.Arbitrary<Uint8Array> {
  const often = <T>(usual: T, ...others: readonly T[]) =>
    fc.oneof({ weight: 5, arbitrary: fc.constant(usual) }, fc.constantFrom(...others));
  const eol = often('\r\n', '\n', '\r', '\r\r\n', '\n\r', '');
  const method = often(
    'GET',
    'get',
    'HEAD',
    'POST',
    'PUT',
    'OPTIONS',
    'TRACE',
    'QUERY',
    'G\0T',
    '',
  );
  const target = often(
    '/v1/credentials',
    ...['/v1/credentials?x=1', '/v1/credentials/', '/v1//credentials', '/v1/./credentials'],
    ...['/v1/credentials#x', '/V1/credentials', '/v1/credential%73', '/v1/x/../credentials'],
    ...['/', '*', '', `http://${host}/v1/credentials`, '//v1/credentials', '\\v1\\credentials'],
  );
  const version = often('HTTP/1.1', 'HTTP/1.0', 'HTTP/0.9', 'HTTP/2.0', 'HTTP/1.2', 'http/1.1', '');
  const token = often(good, ...bad, '', `Bearer ${good}`, `${good},${good}`, `${good} x`);
  const hostValue = often(
    host,
    ...[`${host}:80`, '169.254.170.23', '[fd00:ec2::23]', 'localhost', 'evil.example', ''],
    ...[`${host}.evil.example`, `evil.example@${host}`, `${host}:80:80`, `${host}:x`, `${host},x`],
  );
  const field = fc.oneof(
    { weight: 4, arbitrary: token.map((value) => `Authorization: ${value}`) },
    { weight: 4, arbitrary: hostValue.map((value) => `Host: ${value}`) },
    fc.constantFrom(
      ...['Content-Length: 0', 'Content-Length: 5', 'Content-Length: -1', 'Content-Length: 1e3'],
      ...['Content-Length: 99999999999999999999', 'Transfer-Encoding: chunked'],
      ...['Transfer-Encoding: chunked, identity', 'Transfer-Encoding:\u000bchunked'],
      ...['Connection: close', 'Connection: keep-alive, Upgrade', 'Upgrade: websocket'],
      ...['Expect: 100-continue', 'Upgrade: h2c', 'Host : x', ' folded: x', ': nameless', 'x'],
      ...[
        'X: \0',
        'X-Probe: 1',
        'Cookie: a=b',
        `Authorization : ${good}`,
        `\tAuthorization: ${good}`,
      ],
      ...[`Authorization:\r\n ${good}`, `authorization:${good}`, `X: ${'y'.repeat(9_000)}`],
    ),
  );
  const fields = fc.array(fc.tuple(field, eol), { maxLength: 7 });
  const body = often('', 'hello', '5\r\nhello\r\n0\r\n\r\n', '0\r\n\r\n', 'ffffffffff\r\nx');
  return fc
    .tuple(method, target, version, eol, fields, eol, body)
    .map(([verb, path, http, end, lines, last, rest]) =>
      latin1(
        `${verb} ${path} ${http}${end}${lines.map(([line, ending]) => line + ending).join('')}${last}${rest}`,
      ),
    );
}

/** What is done to bytes in one place. */
const change = fc.record({
  how: fc.constantFrom('replace', 'insert', 'delete', 'flip', 'repeat', 'cut', 'move'),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  to: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.integer({ min: 1, max: 24 }),
  bytes: fc.array(byte, { minLength: 1, maxLength: 4 }),
});

/** Bytes that differ from some others in a few places. */
export function mutated(original: Uint8Array): fc.Arbitrary<Uint8Array> {
  return fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) => {
    let bytes = Buffer.from(original);
    for (const { how, at, to, length, bytes: others } of changes) {
      const place = Math.floor(at * bytes.length);
      const [before, behind] = [bytes.subarray(0, place), bytes.subarray(place)];
      const inserted = Buffer.from(others);
      switch (how) {
        case 'replace':
          bytes = Buffer.concat([before, inserted, behind.subarray(inserted.length)]);
          break;
        case 'insert':
          bytes = Buffer.concat([before, inserted, behind]);
          break;
        case 'delete':
          bytes = Buffer.concat([before, behind.subarray(length)]);
          break;
        case 'flip':
          bytes = Buffer.from(bytes);
          if (place < bytes.length) bytes[place] = (bytes[place] as number) ^ (1 << (length % 8));
          break;
        case 'repeat':
          bytes = Buffer.concat([before, behind.subarray(0, length), behind]);
          break;
        case 'cut':
          bytes = Buffer.from(before);
          break;
        default: {
          const moved = behind.subarray(0, length);
          const rest = Buffer.concat([before, behind.subarray(length)]);
          const target = Math.floor(to * rest.length);
          bytes = Buffer.concat([rest.subarray(0, target), moved, rest.subarray(target)]);
        }
      }
    }
    return bytes;
  });
}

/** Several of them one after the other, cut into pieces anywhere. */
export function inPieces(one: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Pieces> {
  const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 });
  return fc
    .tuple(
      fc.oneof(
        one.map((bytes) => [bytes]),
        fc.array(one, { maxLength: 4 }),
      ),
      cuts,
    )
    .map(([all, parts]) => {
      const bytes = Buffer.concat(all);
      const places = parts.map((part) => Math.floor(part * bytes.length)).sort((a, b) => a - b);
      return [...places, bytes.length].map((end, index) =>
        bytes.subarray(index === 0 ? 0 : places[index - 1], end),
      );
    });
}

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}
