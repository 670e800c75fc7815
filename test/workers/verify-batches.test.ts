import t from 'tap';
import type { VerifyResult, VerifyTask } from '../../src/workers/verify.ts';
import { VerifyBatches } from '../../src/workers/verify-batches.ts';
import { settle } from '../support/manual-clock.ts';
import { EXPECTED, ISSUER } from '../tokens/signed-tokens.ts';

const keysOf = (id: number) => ({ id, issuer: ISSUER, jwks: { keys: [] } });

/** Batches for a thread that refuses all tokens, by name; it can be replaced, or die of one. */
function thread() {
  const sent: VerifyTask[] = [];
  let known: number | undefined;
  const now = { deadly: '', held: undefined as Promise<void> | undefined };
  const batches = new VerifyBatches(async (task): Promise<VerifyResult[] | undefined> => {
    sent.push(task);
    await now.held;
    if (task.tokens.includes(now.deadly)) throw new Error('the thread died');
    if (task.rules !== undefined) known = task.rulesId;
    if (known !== task.rulesId) return undefined;
    return task.tokens.map((token) =>
      token === 'defect' ? { failure: 'a defect' } : { verdict: 'unfit', reason: token },
    );
  }, 1);
  const verify = (token: string, id = 1) =>
    batches.verify({ token, now: 7, keys: keysOf(id), expected: EXPECTED });
  const replace = () => {
    known = undefined;
  };
  return { now, sent, verify, replace };
}

const unfit = (reason: string) => ({ verdict: 'unfit', reason });

t.test('what comes in during one turn goes out in one message', async (t) => {
  const { sent, verify } = thread();
  t.strictSame(await Promise.all(['a', 'b'].map((token) => verify(token))), [
    unfit('a'),
    unfit('b'),
  ]);
  t.match(sent, [
    { tokens: ['a', 'b'], nows: [7, 7], rules: undefined },
    { tokens: ['a', 'b'], rules: { keys: { id: 1 }, expected: EXPECTED } },
  ]);
  t.strictSame(await verify('c'), unfit('c'));
  t.match(sent.slice(2), [{ tokens: ['c'], rules: undefined }], 'a thread is told the rules once');
  t.equal(sent.length, 3);
});

t.test('a thread in place of another is told the rules anew, and new rules are told', async (t) => {
  const { sent, verify, replace } = thread();
  await verify('a');
  replace();
  t.strictSame(await verify('b'), unfit('b'));
  t.strictSame(
    sent.map(({ rules }) => rules !== undefined),
    [false, true, false, true],
  );
  const [old, fresh] = await Promise.all([verify('c'), verify('d', 2)]);
  t.strictSame([old, fresh], [unfit('c'), unfit('d')]);
  t.match(sent.slice(4), [{ tokens: ['c'] }, { tokens: ['d'] }, { rules: { keys: { id: 2 } } }]);
});

t.test('a message has 32 tokens at most', async (t) => {
  const { sent, verify } = thread();
  const names = Array.from({ length: 70 }, (_, index) => `token ${index}`);
  t.strictSame(await Promise.all(names.map((name) => verify(name))), names.map(unfit));
  t.strictSame(
    sent.filter(({ rules }) => rules === undefined).map(({ tokens }) => tokens.length),
    [32, 32, 6],
  );
});

t.test('what a thread dies of fails alone, and so does a defect', async (t) => {
  const { now, verify } = thread();
  now.deadly = 'deadly';
  const asked = ['a', 'deadly', 'defect', 'b'].map((token) => verify(token));
  const [a, deadly, defect, b] = await Promise.allSettled(asked);
  t.match([a, b], [{ value: unfit('a') }, { value: unfit('b') }]);
  t.match(deadly, { reason: { message: 'the thread died' } });
  t.match(defect, { reason: { code: 'ERR_WORKER', message: 'a defect' } });
});

t.test('tokens that wait are bounded', async (t) => {
  const { now, sent, verify } = thread();
  const held = Promise.withResolvers<void>();
  now.held = held.promise;
  const asked = Array.from({ length: 20_000 }, (_, index) => verify(String(index)));
  await t.rejects(verify('one more'), { code: 'ERR_WORKER', message: /too many/ });
  held.resolve();
  await Promise.all(asked);
  await settle();
  t.strictSame(await verify('later'), unfit('later'));
  t.notOk(sent.some(({ tokens }) => tokens.includes('one more')));
});

t.test('a burst is handed over two messages at a time, the next in another turn', async (t) => {
  const { now, sent, verify } = thread();
  await verify('rules');
  sent.length = 0;
  const held = Promise.withResolvers<void>();
  now.held = held.promise;
  const names = Array.from({ length: 200 }, (_, index) => `token ${index}`);
  const asked = names.map((name) => verify(name));
  await settle();
  t.equal(sent.length, 2, 'while none of them comes back');
  let [inTurn, most, answered] = [0, 0, 0];
  for (const one of asked) {
    void one.then(() => {
      inTurn += 1;
      answered += 1;
    });
  }
  held.resolve();
  while (answered < names.length) {
    inTurn = 0;
    await new Promise(setImmediate);
    most = Math.max(most, inTurn);
  }
  t.equal(most, 64, 'verdicts that come back in one turn');
  t.strictSame(await Promise.all(asked), names.map(unfit));
  t.strictSame(
    sent.flatMap(({ tokens }) => tokens),
    names,
    'in the order in which they came',
  );
});
