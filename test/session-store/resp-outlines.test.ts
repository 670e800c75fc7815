import fc from 'fast-check';
import t from 'tap';
import { type Outline, RespError, RespOutlines } from '../../src/session-store/resp-outlines.ts';

const BOUNDS = { bytes: 1_000, elements: 20 };

/** What bytes come to, sent in pieces of some size. */
function outlines(text: string, size = text.length, bounds = BOUNDS): Outline[] {
  const seen: Outline[] = [];
  const reader = new RespOutlines(bounds, (outline) => {
    seen.push(outline);
    return bounds;
  });
  const bytes = Buffer.from(text);
  for (let from = 0; from < bytes.length; from += Math.max(1, size)) {
    reader.read(bytes.subarray(from, from + Math.max(1, size)));
  }
  return seen;
}

const VALUES = [
  '+OK\r\n',
  '-ERR no\r\n',
  ':-12\r\n',
  '$-1\r\n',
  '$0\r\n\r\n',
  '$7\r\na\r\nb\r\nc\r\n',
  '*-1\r\n',
  '*0\r\n',
  '*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$4\r\ntext\r\n',
  '*2\r\n*1\r\n*2\r\n:5\r\n:900\r\n*0\r\n',
  '*3\r\n+a\r\n$-1\r\n:1\r\n',
];

t.test('values in outline', async (t) => {
  t.match(outlines(VALUES.join('')), [
    { type: '+', head: 'OK', length: 0 },
    { type: '-', head: 'ERR no' },
    { type: ':', head: '-12', greatest: 0 },
    { type: '$', isNull: true, holdsNull: true },
    { type: '$', head: '', isNull: false },
    { type: '$', head: 'a\r\nb\r\nc' },
    { type: '*', isNull: true },
    { type: '*', length: 0, isNull: false },
    { type: '*', length: 3, texts: 3, head: 'message', holdsNull: false },
    { type: '*', length: 2, texts: 0, greatest: 900 },
    { type: '*', length: 3, texts: 1, head: 'a', holdsNull: true, greatest: 1 },
  ]);
});

t.test('it does not matter how they are cut', async (t) => {
  const whole = outlines(VALUES.join(''));
  for (let size = 1; size < 20; size += 1) {
    t.strictSame(outlines(VALUES.join(''), size), whole, `pieces of ${size}`);
  }
});

t.test('what is not RESP of protocol 2, or too much, is refused as early as can be', async (t) => {
  const refused: Readonly<Record<string, string>> = {
    'a type of protocol 3': '%1\r\n+a\r\n+b\r\n',
    'a push': '>2\r\n+a\r\n+b\r\n',
    'a null of protocol 3': '_\r\n',
    'a number that is none': ':1a\r\n',
    'a length that is none': '$5a\r\n',
    'a negative length': '$-2\r\n',
    'a length of gigabytes': '$600000000\r\n',
    'a length of many digits': '$99999999999\r\n',
    'an array of millions': '*30000000\r\n',
    'many arrays of few': '*6\r\n*6\r\n*6\r\n*6\r\n',
    'arrays in arrays': '*1\r\n'.repeat(6),
    'a line without an end': `+${'a'.repeat(10_000)}`,
    'a line that ends otherwise': '+a\rb\r\n',
    'a text that is longer': '$1\r\nab\r\n',
    'a text without its end': '$1\r\na+OK\r\n',
    'many small things': `*20\r\n${`$90\r\n${'a'.repeat(90)}\r\n`.repeat(20)}`,
  };
  for (const [what, text] of Object.entries(refused)) {
    for (const size of [1, 3, text.length]) {
      t.throws(() => outlines(text, size), { code: 'ERR_REDIS_PROTOCOL' }, what);
    }
  }
});

t.test('whatever comes, it is read or refused', async (t) => {
  const piece = fc.oneof(
    fc.constantFrom(...VALUES, '\r', '\n', '\r\n', '*', '$', ':', '1', '-'),
    fc.string({ unit: 'binary', maxLength: 5 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), fc.integer({ min: 1, max: 9 }), (all, size) => {
      try {
        outlines(all.join(''), size);
      } catch (error) {
        if (!(error instanceof RespError)) throw error;
      }
    }),
  );
  t.pass();
});
