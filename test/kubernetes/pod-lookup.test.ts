import t from 'tap';
import { type LookupResult, PodLookup } from '../../src/kubernetes/pod-lookup.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { podObject } from './pods.ts';

const sought = (pod: string) => ({ namespace: 'shop', pod, podUid: `uid-of-${pod}` });

/** A look-up at an API server that answers when the test says. */
function setUp() {
  const clock = new ManualClock();
  const asked: string[] = [];
  const results: LookupResult['kind'][] = [];
  const open: ((status: number, body: unknown) => void)[] = [];
  const fail: ((error: Error) => void)[] = [];
  const lookup = new PodLookup({
    clock,
    client: {
      get: (path) => {
        asked.push(path);
        const { promise, resolve, reject } = Promise.withResolvers<{
          status: number;
          headers: Record<string, string>;
          body: Buffer;
        }>();
        open.push((status, body) =>
          resolve({ status, headers: {}, body: Buffer.from(JSON.stringify(body)) }),
        );
        fail.push(reject);
        return promise;
      },
    },
    onLookup: (result) => void results.push(result),
  });
  return { clock, asked, results, open, fail, lookup };
}

t.test('a pod, asked for once however many want it', async (t) => {
  const { asked, open, lookup, results } = setUp();
  const found = Promise.all([lookup.find(sought('a')), lookup.find(sought('a'))]);
  open[0]?.(200, podObject('a'));
  t.match(await found, [{ kind: 'pod', facts: { name: 'a' } }, { kind: 'pod' }]);
  t.strictSame(asked, ['/api/v1/namespaces/shop/pods/a']);
  t.strictSame(results, ['pod']);
});

t.test('a pod that is not there, or has another’s name, is not asked for again', async (t) => {
  const { clock, asked, open, lookup } = setUp();
  for (const [number, [status, body]] of (
    [
      [404, {}],
      [200, podObject('x', { metadata: { uid: 'another' } })],
    ] as const
  ).entries()) {
    const pod = `gone-${number}`;
    const found = lookup.find(sought(pod));
    open.at(-1)?.(status, body);
    t.strictSame(await found, { kind: 'absent' });
    t.strictSame(await lookup.find(sought(pod)), { kind: 'absent' });
  }
  t.equal(asked.length, 2);
  await clock.advance(5_000);
  void lookup.find(sought('gone-0'));
  t.equal(asked.length, 3, 'but not for ever');
});

t.test('an API server that does not say is left alone for a moment', async (t) => {
  for (const answer of [403, 429, 500, 'no pod', 'fails'] as const) {
    const { clock, asked, open, fail, lookup, results } = setUp();
    const found = lookup.find(sought('a'));
    if (answer === 'fails') fail[0]?.(new Error('ECONNREFUSED'));
    else open[0]?.(typeof answer === 'number' ? answer : 200, {});
    t.strictSame(await found, { kind: 'away' }, String(answer));
    t.strictSame(await lookup.find(sought('b')), { kind: 'away' });
    t.equal(asked.length, 1);
    t.strictSame(results, ['away'], 'what was not asked is not counted');
    await clock.advance(2_000);
    void lookup.find(sought('b'));
    t.equal(asked.length, 2);
  }
});

t.test('many at once are asked for a few at a time', async (t) => {
  const { asked, open, fail, lookup } = setUp();
  const found = Array.from({ length: 300 }, (_, number) => lookup.find(sought(`p${number}`)));
  t.equal(asked.length, 8);
  t.strictSame(await found[299], { kind: 'away' }, 'and no more than some wait');
  open[0]?.(200, podObject('p0'));
  t.match(await found[0], { kind: 'pod' });
  t.equal(asked.length, 9);
  fail[1]?.(new Error('ECONNRESET'));
  t.strictSame(await found[1], { kind: 'away' });
  t.equal(asked.length, 9, 'nobody waits in vain');
  t.strictSame(await found[20], { kind: 'away' });
});
