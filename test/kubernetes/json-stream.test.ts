import fc from 'fast-check';
import t from 'tap';
import { Lines, ListItems, StreamError } from '../../src/kubernetes/json-stream.ts';
import { readEvent, WatchExpiredError } from '../../src/kubernetes/watch-event.ts';
import { podObject } from './pods.ts';

/** A text in pieces of these sizes, over and over. */
function pieces(text: string, sizes: readonly number[]): Buffer[] {
  const bytes = Buffer.from(text);
  const cut: Buffer[] = [];
  for (let from = 0, turn = 0; from < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] as number;
    cut.push(bytes.subarray(from, from + size));
    from += size;
  }
  return cut;
}

function itemsOf(text: string, sizes: readonly number[], most?: number) {
  const items: (string | undefined)[] = [];
  const list = new ListItems((item) => void items.push(item), ['podIPs'], most);
  for (const piece of pieces(text, sizes)) list.push(piece);
  return { items, rest: list.end() };
}

/** An object without the lists and objects of its third level. */
function pruned(object: object): object {
  const empty = (value: unknown) => (typeof value === 'object' ? null : value);
  return Object.fromEntries(
    Object.entries(object).map(([key, value]: [string, unknown]) => {
      if (typeof value !== 'object' || value === null) return [key, value];
      if (Array.isArray(value)) return [key, value.map(empty)];
      return [key, Object.fromEntries(Object.entries(value).map(([k, v]) => [k, empty(v)]))];
    }),
  );
}

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });

t.test('a list comes apart into its items, wherever it is cut', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue())),
      fc.dictionary(
        fc.string().filter((key) => key !== 'items' && key !== '__proto__'),
        fc.jsonValue(),
      ),
      fc.dictionary(fc.constantFrom('kind', 'tail'), fc.jsonValue()),
      sizes,
      fc.constantFrom(undefined, 1),
      (objects, before, after, cut, indent) => {
        const text = JSON.stringify({ ...before, items: objects, ...after }, null, indent);
        const { items, rest } = itemsOf(text, cut);
        return (
          JSON.stringify(items.map((item) => JSON.parse(item as string))) ===
            JSON.stringify(objects.map(pruned)) &&
          JSON.stringify(rest) === JSON.stringify({ ...(JSON.parse(text) as object), items: [] })
        );
      },
    ),
    { examples: [[[{ a: [{}] }], { kind: 'items' }, {}, [1], undefined]] },
  );
});

t.test('of a pod, what it is made of is left out', async (t) => {
  const status = {
    conditions: [{ type: 'Ready', message: '[{"' }],
    podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }],
    phase: 'Running',
  };
  const spec = { containers: [{ name: 'podIPs', env: [{ podIPs: [] }] }], hostNetwork: true };
  const pod = podObject('a', { spec, status, metadata: { ownerReferences: [{}] } });
  const { kind, apiVersion } = pod;
  for (const cut of [[1], [7], [10_000]]) {
    const { items } = itemsOf(JSON.stringify({ items: [pod, { last: true }] }), cut);
    t.strictSame(
      items.map((item) => JSON.parse(item as string)),
      [
        {
          kind,
          apiVersion,
          metadata: { ...pod.metadata, labels: null, managedFields: null, ownerReferences: null },
          spec: { ...pod.spec, containers: null },
          status: { ...pod.status, conditions: null },
        },
        { last: true },
      ],
    );
  }
  const huge = podObject('b', { spec: { volumes: ['x'.repeat(5_000)] } });
  const { items } = itemsOf(JSON.stringify({ items: [huge] }), [100], 1_000);
  t.match(JSON.parse(items[0] as string), { metadata: { name: 'b' } }, 'however large that is');
});

t.test('lines come out whole, wherever they are cut', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.jsonValue().map((value) => JSON.stringify(value))),
      sizes,
      (sent, cut) => {
        const lines = new Lines();
        const text = sent.map((line) => `${line}\n`).join('');
        const received = pieces(text, cut).flatMap((piece) => lines.push(piece));
        return JSON.stringify(received) === JSON.stringify(sent);
      },
    ),
  );
});

t.test('what is endless is not kept', async (t) => {
  const lines = new Lines(1_000);
  t.strictSame(lines.push(Buffer.from(`${'a'.repeat(1_000)}\nb`)), ['a'.repeat(1_000)]);
  t.throws(() => lines.push(Buffer.alloc(1_000, 'b')), StreamError);

  const big = JSON.stringify({ big: 'x'.repeat(5_000) });
  const { items } = itemsOf(`{"items":[{"a":1},${big},{"b":2}]}`, [7], 1_000);
  t.strictSame(items, ['{"a":1}', undefined, '{"b":2}'], 'an item that is too large is left out');

  const list = new ListItems(() => undefined, []);
  const metadata = Buffer.from(`{"metadata":"${'x'.repeat(50_000)}`);
  list.push(metadata);
  t.throws(() => list.push(metadata), StreamError);
});

t.test('what is no list, or was cut, is an error', async (t) => {
  for (const text of [
    '',
    'null?',
    '{"items":[{"a":1}',
    '{"items":[{"a":1}]',
    '<html>',
    '{"items":',
  ]) {
    t.throws(() => itemsOf(text, [3]), StreamError, text);
  }
  t.strictSame(
    itemsOf('{"metadata":{"items":[{"a":1}]}}', [5]).items,
    [],
    'items of something else',
  );
  t.strictSame(itemsOf('{"kind":"items","list":[{"a":1}]}', [5]).items, [], 'another list');
});

t.test('events of a watch', async (t) => {
  const line = (type: string, object: unknown) => JSON.stringify({ type, object });
  for (const type of ['ADDED', 'MODIFIED', 'DELETED']) {
    t.match(readEvent(line(type, podObject('a', { version: '17' }))), {
      type,
      version: '17',
      pod: { name: 'a' },
    });
  }
  t.strictSame(readEvent(line('BOOKMARK', { kind: 'Pod', metadata: { resourceVersion: '9' } })), {
    type: 'BOOKMARK',
    pod: undefined,
    version: '9',
  });
  const gone = { kind: 'Status', code: 410, reason: 'Expired' };
  t.throws(() => readEvent(line('ERROR', gone)), WatchExpiredError);
  t.throws(() => readEvent(line('ERROR', { kind: 'Status', code: 500 })), {
    name: 'StreamError',
    message: 'the watch ended with an error 500',
  });
});

t.test('what is no event of a pod may have hidden one', async (t) => {
  const node = { kind: 'Node', metadata: { name: 'n', resourceVersion: '5' } };
  for (const line of [
    '{',
    'null',
    '7',
    '{}',
    '{"type":"ADDED"}',
    '{"type":"ERROR","object":null}',
    JSON.stringify({ type: 'ADDED', object: node }),
    JSON.stringify({ type: 'RENAMED', object: podObject('a') }),
    JSON.stringify({ type: 'BOOKMARK', object: { metadata: {} } }),
    JSON.stringify({ type: 'ADDED', object: podObject('a', { version: '' }) }),
  ]) {
    t.throws(() => readEvent(line), StreamError, line.slice(0, 60));
  }
  const secret = 'eyJhbGciOiJub25lIn0.e30.';
  t.notMatch(
    (() => {
      try {
        readEvent(secret);
        return '';
      } catch (error) {
        return (error as Error).message;
      }
    })(),
    'eyJ',
    'nothing of it is quoted',
  );
});
