import fc from 'fast-check';
import t from 'tap';
import { formatDuration, parseDuration } from '../../src/config/duration.ts';

const DAY = 24 * 3_600_000;
const MAX_DURATION = 2 ** 31 - 1;

t.test('durations in the forms of Go', async (t) => {
  for (const [text, milliseconds] of [
    ['0', 0],
    ['+0', 0],
    ['0s', 0],
    ['0h0m0s', 0],
    ['500ms', 500],
    ['1s', 1_000],
    ['90s', 90_000],
    ['90m', 90 * 60_000],
    ['3h', 3 * 3_600_000],
    ['1h30m', 5_400_000],
    ['1h30m5.5s', 5_405_500],
    ['1.5h', 5_400_000],
    ['1.5s', 1_500],
    ['.5s', 500],
    ['1.s', 1_000],
    ['+5s', 5_000],
    ['1s1h', 3_601_000],
    ['1s1s', 2_000],
    ['1500us', 1.5],
    ['1500µs', 1.5],
    ['1500μs', 1.5],
    ['1ns', 1e-6],
    ['1.001s', 1_001],
    ['1.9s', 1_900],
    ['0.1s', 100],
    ['007s', 7_000],
    ['24h', DAY],
    ['2147483647ms', MAX_DURATION],
  ] as const) {
    t.equal(parseDuration(text), milliseconds, text);
  }
});

t.test('what Go does not take for a duration', async (t) => {
  for (const text of [
    '',
    ' ',
    '+',
    '1',
    '3',
    '00',
    '1.5',
    '.',
    '.s',
    'h',
    's',
    '1 s',
    ' 1s',
    '1s ',
    '1s\n',
    '1S',
    '1H',
    '1d',
    '1w',
    '1y',
    '1sec',
    '1h30',
    '1h 30m',
    '1,5s',
    '1e3s',
    '0x10s',
    '++1s',
    '+-1s',
    '1..5s',
    '∞',
    'Infinity',
    'NaN',
    'null',
    'true',
    '１s',
  ]) {
    t.throws(() => parseDuration(text), { name: 'TypeError', message: /^not a duration: "/ }, text);
  }
});

t.test('durations that no flag has a use for', async (t) => {
  for (const text of ['-1s', '-0', '-3h', '-']) {
    t.throws(() => parseDuration(text), { name: 'TypeError', message: /cannot be negative/ }, text);
  }
  for (const text of ['2147483648ms', '25h25000m1h999h', '600h', '999999999999999999999h']) {
    t.throws(() => parseDuration(text), { name: 'TypeError', message: /more than 24 days/ }, text);
  }
  t.throws(() => parseDuration(`${'9'.repeat(400)}h`), TypeError, 'a number beyond all numbers');
  for (const text of ['2147483648ms', '720h', `${'9'.repeat(400)}h`]) {
    t.equal(parseDuration(text, 'cut'), MAX_DURATION, `${text.slice(0, 20)}, cut`);
  }
  t.equal(parseDuration('3h', 'cut'), 3 * 3_600_000);
  t.throws(() => parseDuration('3', 'cut'), TypeError);
});

t.test('a message shows no more than the beginning, in one line', async (t) => {
  try {
    parseDuration(`1s\n${'x'.repeat(1_000)}`);
    t.fail('was taken');
  } catch (error) {
    const { message } = error as Error;
    t.notMatch(message, /\n/);
    t.ok(message.length < 200, `${message.length} characters`);
  }
});

t.test('durations as they are written', async (t) => {
  for (const [milliseconds, text] of [
    [0, '0s'],
    [1, '1ms'],
    [999, '999ms'],
    [1_000, '1s'],
    [1_001, '1.001s'],
    [1_900, '1.9s'],
    [60_000, '1m'],
    [90_000, '1m30s'],
    [3_600_000, '1h'],
    [3 * 3_600_000, '3h'],
    [3_600_001, '1h0.001s'],
    [5_400_000, '1h30m'],
    [DAY, '24h'],
  ] as const) {
    t.equal(formatDuration(milliseconds), text);
  }
});

t.test('what is written is read as the same', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: MAX_DURATION }), (milliseconds) => {
      const text = formatDuration(milliseconds);
      const read = parseDuration(text);
      if (read !== milliseconds) throw new Error(`${milliseconds} ms → ${text} → ${read} ms`);
    }),
    { numRuns: 5_000 },
  );
});

t.test('terms add up, in any order', async () => {
  const term = fc.tuple(
    fc.integer({ min: 0, max: 10_000 }),
    fc.constantFrom(['ms', 1] as const, ['s', 1_000] as const, ['m', 60_000] as const),
  );
  fc.assert(
    fc.property(fc.array(term, { minLength: 1, maxLength: 3 }), (terms) => {
      const text = terms.map(([count, [unit]]) => `${count}${unit}`).join('');
      const sum = terms.reduce((total, [count, [, size]]) => total + count * size, 0);
      return parseDuration(text) === sum;
    }),
  );
});

t.test('whatever the text, it is a duration or a TypeError', async () => {
  const almost = fc
    .array(fc.constantFrom(...'0123456789.+-hmsnuµ \n'), { maxLength: 12, size: 'max' })
    .map((letters) => letters.join(''));
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: 'binary', maxLength: 60, size: 'max' }), almost),
      (text) => {
        let read: number;
        try {
          read = parseDuration(text);
        } catch (error) {
          return error instanceof TypeError;
        }
        return read >= 0 && read <= MAX_DURATION;
      },
    ),
    { numRuns: 5_000 },
  );
});
