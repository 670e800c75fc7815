import t from 'tap';
import {
  REFRESH_INTERVAL,
  UNCONFIRMED_LIFETIME,
  UNKNOWN_KEY_COOLDOWN,
} from '../../src/identity/key-ring.ts';
import { settle } from '../support/manual-clock.ts';
import { ISSUER, PATIENCE, ring } from './ring-harness.ts';
import { published, ScriptedSource } from './scripted-source.ts';

t.test('times are those that are promised', async (t) => {
  t.equal(REFRESH_INTERVAL, 10 * 60_000);
  t.equal(UNKNOWN_KEY_COOLDOWN, 30_000);
  t.equal(UNCONFIRMED_LIFETIME, 24 * 3_600_000);
});

t.test('nothing is fetched before the issuer is known', async (t) => {
  const source = new ScriptedSource('a', [published('1')]);
  const { clock, keyRing, kids } = ring(source);
  t.equal(keyRing.issuer, undefined);
  t.equal(await keyRing.fetch(), false);
  t.equal(await keyRing.refreshForUnknownKey(), false);
  await keyRing.decided();
  await clock.advance(REFRESH_INTERVAL);
  t.equal(source.asked, 0);
  t.equal(kids(), undefined);
});

t.test('sources are asked in turn, until one gives keys', async (t) => {
  const [a, b, c] = ['a', 'b', 'c'].map((name) => new ScriptedSource(name)) as [
    ScriptedSource,
    ScriptedSource,
    ScriptedSource,
  ];
  b.keys = [published('of-b')];
  c.keys = [published('of-c')];
  const { clock, keyRing, kids, changes } = ring(a, b, c);
  t.equal(await keyRing.useIssuer(ISSUER), true);
  t.strictSame([a.asked, b.asked, c.asked], [1, 1, 0]);
  t.strictSame(kids(), ['of-b']);
  t.equal(keyRing.keys?.issuer, ISSUER);

  a.keys = [published('of-a')];
  await clock.advance(REFRESH_INTERVAL);
  t.strictSame([a.asked, b.asked, c.asked], [2, 1, 0], 'from the first again, at every fetch');
  t.strictSame(kids(), ['of-a']);

  a.keys = undefined;
  b.keys = undefined;
  await clock.advance(REFRESH_INTERVAL);
  t.strictSame([a.asked, b.asked, c.asked], [3, 2, 1]);
  t.strictSame(kids(), ['of-c']);
  t.equal(changes.length, 3);
  keyRing.stop();
});

t.test('keys are fetched again every ten minutes', async (t) => {
  const source = new ScriptedSource('a', [published('1')]);
  const { clock, keyRing, changes } = ring(source);
  await keyRing.useIssuer(ISSUER);
  const { id } = keyRing.keys ?? {};
  await clock.advance(REFRESH_INTERVAL - 1);
  t.equal(source.asked, 1);
  await clock.advance(1);
  t.equal(source.asked, 2);
  await clock.advance(6 * REFRESH_INTERVAL);
  t.equal(source.asked, 8);
  t.equal(keyRing.keys?.id, id, 'the same keys are the same set');
  t.equal(changes.length, 1, 'and no change');
  source.keys = [published('2'), published('1')];
  await clock.advance(REFRESH_INTERVAL);
  t.not(keyRing.keys?.id, id, 'others are another set');
  t.equal(changes.length, 2);
  source.keys = [published('1'), published('2')];
  await clock.advance(REFRESH_INTERVAL);
  t.equal(changes.length, 2, 'their order is none of their own');
  keyRing.stop();
});

t.test('one fetch at a time, whoever asks', async (t) => {
  const source = new ScriptedSource('a', [published('1')]);
  const { clock, keyRing } = ring(source);
  source.hold();
  const asked = [keyRing.useIssuer(ISSUER), keyRing.useIssuer(ISSUER), keyRing.fetch()];
  asked.push(keyRing.refreshForUnknownKey(), keyRing.refreshForUnknownKey());
  await clock.advance(1_000);
  t.equal(source.asked, 1);
  source.release();
  t.strictSame(await Promise.all(asked), [true, true, true, true, true]);
  t.equal(source.asked, 1);
  keyRing.stop();
});

t.test('unknown keys: a fetch at once, then one in thirty seconds, however many', async (t) => {
  const source = new ScriptedSource('a', [published('1')]);
  const { clock, keyRing, kids } = ring(source);
  await keyRing.useIssuer(ISSUER);
  t.equal(source.asked, 1);

  const flood = () =>
    Promise.all(Array.from({ length: 500 }, () => keyRing.refreshForUnknownKey()));
  t.ok((await flood()).every((changed) => !changed));
  t.equal(source.asked, 2, 'at once');
  for (let second = 1; second < 30; second++) {
    await clock.advance(1_000);
    await flood();
  }
  t.equal(source.asked, 2, 'no more within the cooldown');

  source.keys = [published('1'), published('2')];
  await clock.advance(1_000);
  t.equal(source.asked, 3, 'made up for when it is over');
  t.strictSame(kids(), ['1', '2'], 'so that a new key is found without being asked for again');
  await clock.advance(UNKNOWN_KEY_COOLDOWN);
  t.equal(source.asked, 3, 'once');

  await flood();
  t.equal(source.asked, 4, 'and at once again after a quiet time');
  for (let minute = 0; minute < 8; minute++) {
    await clock.advance(60_000);
    await flood();
  }
  t.ok(source.asked <= 4 + 16, `at most two a minute: ${source.asked - 4} in 8 minutes`);
  keyRing.stop();
});

t.test('the cooldown does not follow the wall clock', async (t) => {
  const source = new ScriptedSource('a', [published('1')]);
  const { clock, keyRing } = ring(source);
  await keyRing.useIssuer(ISSUER);
  await keyRing.refreshForUnknownKey();
  t.equal(source.asked, 2);
  clock.jump(3_600_000);
  await keyRing.refreshForUnknownKey();
  t.equal(source.asked, 2, 'set forward by an hour');
  await clock.advance(UNKNOWN_KEY_COOLDOWN);
  t.equal(source.asked, 3);
  clock.jump(-2 * 3_600_000);
  await keyRing.refreshForUnknownKey();
  await clock.advance(UNKNOWN_KEY_COOLDOWN);
  t.equal(source.asked, 4, 'set back by two');
  keyRing.stop();
});

t.test('an unknown key that is published by now', async (t) => {
  const source = new ScriptedSource('a', [published('1')]);
  const { keyRing, kids } = ring(source);
  await keyRing.useIssuer(ISSUER);
  source.keys = [published('2'), published('1')];
  t.equal(await keyRing.refreshForUnknownKey(), true);
  t.strictSame(kids(), ['2', '1']);
  keyRing.stop();
});

t.test('tokens of keys that are no longer published are dropped', async (t) => {
  const source = new ScriptedSource('a', [published('stays'), published('goes')]);
  const { clock, keyRing, changes } = ring(source);
  await keyRing.useIssuer(ISSUER);
  t.strictSame(
    ['stays', 'goes', 'never', undefined].map((kid) => changes[0]?.(kid)),
    [true, true, false, false],
    'the first keys',
  );
  source.keys = [published('stays'), published('new')];
  await clock.advance(REFRESH_INTERVAL);
  t.strictSame(
    ['stays', 'goes', 'new', undefined].map((kid) => changes[1]?.(kid)),
    [true, false, false, false],
    'one withdrawn, and one that no token can have verified under',
  );
  source.keys = [published('stays', 'another key'), published('new')];
  await clock.advance(REFRESH_INTERVAL);
  t.strictSame(
    ['stays', 'new'].map((kid) => changes[2]?.(kid)),
    [false, true],
    'another key under a known id is another key',
  );
  keyRing.stop();
});

t.test('a set is proven by a token that verified under it', async (t) => {
  const source = new ScriptedSource('a', [published('1'), published('2')]);
  const { clock, keyRing } = ring(source);
  await keyRing.useIssuer(ISSUER);
  t.equal(keyRing.proven, false);
  const first = keyRing.keys?.id as number;
  keyRing.prove(first + 1);
  t.equal(keyRing.proven, false, 'not by one of another set');
  keyRing.prove(first);
  t.equal(keyRing.proven, true);

  source.keys = [published('2'), published('3')];
  await clock.advance(REFRESH_INTERVAL);
  t.equal(keyRing.proven, true, 'it goes on while one of its keys does');
  source.keys = [published('3', 'another key'), published('4')];
  await clock.advance(REFRESH_INTERVAL);
  t.equal(keyRing.proven, false, 'wholly replaced, it has proven nothing');
  keyRing.prove(first);
  t.equal(keyRing.proven, false, 'what verified under the old keys is late');
  keyRing.prove(keyRing.keys?.id as number);
  t.equal(keyRing.proven, true);
  keyRing.stop();
});

t.test('while sources are away the keys go on, for a day', async (t) => {
  const source = new ScriptedSource('a', [published('1')]);
  const { clock, keyRing, kids } = ring(source);
  await keyRing.useIssuer(ISSUER);
  keyRing.prove(keyRing.keys?.id as number);
  source.keys = undefined;
  await clock.advance(UNCONFIRMED_LIFETIME);
  t.strictSame(kids(), ['1']);
  t.equal(source.asked, 1 + 24 * 6, 'asked every ten minutes');
  t.equal(keyRing.outdated, true);
  await clock.advance(1);
  t.equal(kids(), undefined, 'and not a moment longer');

  source.keys = [published('1')];
  await clock.advance(REFRESH_INTERVAL);
  t.strictSame(kids(), ['1'], 'confirmed, they are good again');
  t.equal(keyRing.outdated, false);
  t.equal(keyRing.proven, true);
  await clock.advance(UNCONFIRMED_LIFETIME - 1);
  t.strictSame(kids(), ['1']);
  keyRing.stop();
});

t.test('a confirmation in time starts the day anew', async (t) => {
  const source = new ScriptedSource('a', [published('1')]);
  const { clock, keyRing, kids } = ring(source);
  await keyRing.useIssuer(ISSUER);
  for (let day = 0; day < 3; day++) {
    source.keys = undefined;
    await clock.advance(23 * 3_600_000);
    t.strictSame(kids(), ['1']);
    source.keys = [published('1')];
    await clock.advance(REFRESH_INTERVAL);
  }
  keyRing.stop();
});

t.test('failures are logged once, and their end', async (t) => {
  const [a, b] = [new ScriptedSource('a', [published('1')]), new ScriptedSource('b')];
  const { clock, keyRing, lines } = ring(a, b);
  const said = (msg: string) => lines.filter((line) => line.msg === msg);
  await keyRing.useIssuer(ISSUER);
  t.match(said('token issuer keys loaded'), [{ issuer: ISSUER, source: 'a', kids: ['1'] }]);

  a.keys = undefined;
  await clock.advance(12 * REFRESH_INTERVAL);
  t.equal(a.asked, 13);
  t.match(said('no source gave keys'), [
    { level: 'warn', issuer: ISSUER, failures: ['a is away', 'b is away'], keysKept: true },
  ]);
  b.keys = [published('1')];
  await clock.advance(REFRESH_INTERVAL);
  t.match(said('keys can be had again'), [{ level: 'info', source: 'b' }]);
  b.keys = undefined;
  await clock.advance(2 * REFRESH_INTERVAL);
  t.equal(said('no source gave keys').length, 2, 'said again, after it was good');
  t.equal(said('token issuer keys loaded').length, 1, 'keys that stay are no news');
  keyRing.stop();
});

t.test('no source at all is a failure too', async (t) => {
  const { keyRing, lines, kids } = ring();
  t.equal(await keyRing.useIssuer(ISSUER), false);
  t.equal(kids(), undefined);
  t.match(lines, [{ msg: 'no source gave keys', failures: [/no source/], keysKept: false }]);
  keyRing.stop();
});

t.test('keys that appear later are found soon', async (t) => {
  const source = new ScriptedSource('a');
  const { clock, keyRing, kids, changes } = ring(source);
  await keyRing.useIssuer(ISSUER);
  t.equal(kids(), undefined);
  let told = 0;
  keyRing.onceFetched(() => {
    told += 1;
  });
  const takeBack = keyRing.onceFetched(() => t.fail('was taken back'));
  takeBack();
  await clock.advance(5_000);
  t.equal(source.asked, 2, 'asked every five seconds while there are none');
  t.equal(told, 1, 'who waits for a fetch is told, once');
  source.keys = [published('1')];
  await clock.advance(5_000);
  t.equal(told, 1);
  t.strictSame(kids(), ['1']);
  t.equal(changes.length, 1);
  await clock.advance(REFRESH_INTERVAL - 1);
  t.equal(source.asked, 3, 'and from then on every ten minutes');
  keyRing.stop();
});

t.test('the first fetch is waited for, but not for ever', async (t) => {
  const source = new ScriptedSource('a', [published('1')]);
  const { clock, keyRing } = ring(source);
  source.hold();
  void keyRing.useIssuer(ISSUER);
  let decided = 0;
  const wait = () => void keyRing.decided().then(() => (decided += 1));
  wait();
  await clock.advance(PATIENCE - 1);
  wait();
  await clock.advance(0);
  t.equal(decided, 0);
  await clock.advance(1);
  t.equal(decided, 2, 'together, after as long as a client waits');
  wait();
  await settle();
  t.equal(decided, 3, 'and no longer at all from then on');
  source.release();
  await settle();
  t.ok(keyRing.keys);
  wait();
  await settle();
  t.equal(decided, 4);
  keyRing.stop();
});

t.test('the first fetch ends the wait, whether or not it gives keys', async (t) => {
  for (const keys of [[published('1')], undefined]) {
    const source = new ScriptedSource('a', keys);
    const { keyRing } = ring(source);
    source.hold();
    void keyRing.useIssuer(ISSUER);
    let decided = false;
    void keyRing.decided().then(() => {
      decided = true;
    });
    await settle();
    t.equal(decided, false);
    source.release();
    await settle();
    t.equal(decided, true);
    keyRing.stop();
  }
});

t.test('later fetches hold nobody up', async (t) => {
  const source = new ScriptedSource('a', [published('1')]);
  const { clock, keyRing } = ring(source);
  await keyRing.useIssuer(ISSUER);
  source.hold();
  await clock.advance(REFRESH_INTERVAL);
  t.equal(source.asked, 2);
  await keyRing.decided();
  t.ok(keyRing.keys);
  source.release();
  keyRing.stop();
});

t.test('stopped, it asks nobody any more', async (t) => {
  const source = new ScriptedSource('a', [published('1')]);
  const { clock, keyRing } = ring(source);
  await keyRing.useIssuer(ISSUER);
  await keyRing.refreshForUnknownKey();
  await keyRing.refreshForUnknownKey();
  source.hold();
  void keyRing.fetch();
  keyRing.stop();
  source.release();
  await settle();
  const { asked } = source;
  await clock.advance(3 * REFRESH_INTERVAL);
  t.equal(source.asked, asked);
  t.equal(clock.pending, 0);
});
