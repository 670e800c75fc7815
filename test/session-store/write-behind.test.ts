import t from 'tap';
import { WriteBehind } from '../../src/session-store/write-behind.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';

function setUp() {
  const clock = new ManualClock();
  const set = { open: true, dropped: 0 };
  const written: string[] = [];
  const unanswered: { readonly text: string; ok(): void; fail(): void }[] = [];
  const writes = new WriteBehind({
    clock,
    open: () => set.open,
    onDropped: () => {
      set.dropped += 1;
    },
  });
  const add = (subject: string, text = subject, essential = false) =>
    writes.add(
      subject,
      () => {
        written.push(text);
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        unanswered.push({ text, ok: resolve, fail: () => reject(new Error('OOM')) });
        return promise;
      },
      { essential },
    );
  return { clock, set, written, unanswered, writes, add };
}

t.test('while Redis is away, the latest of each subject waits', async (t) => {
  const { set, writes, written, add } = setUp();
  set.open = false;
  add('a', 'a1');
  add('b', 'b1');
  add('a', 'a2');
  t.equal(writes.size, 2);
  t.strictSame(written, []);
  set.open = true;
  writes.advance();
  t.strictSame(written, ['b1', 'a2']);
});

t.test('a few at a time, and one of a subject', async (t) => {
  const { writes, written, unanswered, add } = setUp();
  for (let subject = 0; subject < 40; subject += 1) add(`${subject}`);
  t.equal(written.length, 16);
  add('0', 'again');
  t.notOk(written.includes('again'), 'its first is under way');
  while (unanswered.length > 0) {
    unanswered.shift()?.ok();
    await settle();
  }
  t.equal(written.length, 41);
  t.equal(writes.size, 0);
});

t.test('what fails is written again, ever more rarely, unless something newer waits', async (t) => {
  const { clock, written, unanswered, add } = setUp();
  add('a', 'a1');
  const pauses: number[] = [];
  for (let failure = 0; failure < 8; failure += 1) {
    unanswered.shift()?.fail();
    await settle();
    pauses.push(clock.next as number);
    await clock.advance(clock.next as number);
  }
  t.strictSame(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  t.equal(written.length, 9);
  add('a', 'a2');
  unanswered.shift()?.fail();
  await settle();
  await clock.advance(30_000);
  t.equal(written.at(-1), 'a2');
  unanswered.shift()?.ok();
  await settle();
  add('b');
  unanswered.shift()?.fail();
  await settle();
  t.equal(clock.next, 500, 'after a success the pauses begin anew');
});

t.test('too much: the oldest is given up, but never what ends something', async (t) => {
  const { set, writes, written, unanswered, add } = setUp();
  set.open = false;
  add('revoke', 'revoke', true);
  for (let subject = 0; subject < 4_000; subject += 1) add(`${subject}`);
  t.equal(set.dropped, 1);
  t.equal(writes.size, 4_000);
  set.open = true;
  writes.advance();
  t.equal(written[0], 'revoke');
  t.equal(written[1], '1', 'the oldest that may be given up was');
  t.equal(unanswered.length, 16);
});

t.test('where all that waits ends something, no other write displaces it', async (t) => {
  const { set, writes, add } = setUp();
  set.open = false;
  for (let subject = 0; subject < 4_001; subject += 1) add(`revoke ${subject}`, 'revoke', true);
  t.equal(writes.size, 4_001);
  t.equal(set.dropped, 0);
  add('entry');
  t.equal(writes.size, 4_001);
  t.equal(set.dropped, 1);
});

t.test('settled: once everything is written, or cannot be for now', async (t) => {
  const { set, writes, unanswered, add } = setUp();
  await writes.settled();
  add('a');
  let settled = false;
  void writes.settled().then(() => {
    settled = true;
  });
  await settle();
  t.notOk(settled);
  unanswered.shift()?.ok();
  await settle();
  t.ok(settled);
  set.open = false;
  add('b');
  await writes.settled();
  writes.stop();
  t.equal(writes.size, 0);
});
