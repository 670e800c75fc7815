import t from 'tap';
import {
  type LoadedCredentials,
  NodeCredentialsKeeper,
} from '../../src/eks-auth/node-credentials.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';

const MINUTE = 60_000;

/** A keeper over loads that the test answers. */
function keeper({ rotate = false } = {}) {
  const clock = new ManualClock();
  const loads: PromiseWithResolvers<LoadedCredentials>[] = [];
  let tell: ((source: string) => void) | undefined;
  let replaced = 0;
  const credentials = new NodeCredentialsKeeper({
    clock,
    rotate,
    onReplaced: () => {
      replaced += 1;
    },
    load: (onSource) => {
      tell = onSource;
      const load = Promise.withResolvers<LoadedCredentials>();
      loads.push(load);
      return load.promise;
    },
  });
  const of = (accessKeyId: string, lifetime?: number, remote = false): LoadedCredentials => ({
    accessKeyId,
    secretAccessKey: 'example',
    remote,
    ...(lifetime !== undefined && { expiresAt: clock.now() + lifetime }),
  });
  const answer = async (loaded: LoadedCredentials | Error) => {
    const load = loads.at(-1);
    if (loaded instanceof Error) load?.reject(loaded);
    else load?.resolve(loaded);
    await settle();
  };
  /** Asks; a refusal may come before the test looks at it. */
  const ask = () => {
    const asked = credentials.get();
    asked.catch(() => undefined);
    return asked;
  };
  /** Begins with credentials at hand. */
  const begin = async (loaded: LoadedCredentials) => {
    const first = credentials.get();
    await answer(loaded);
    await first;
  };
  return {
    clock,
    loads,
    credentials,
    of,
    ask,
    answer,
    begin,
    replaced: () => replaced,
    asks: (source: string) => tell?.(source),
  };
}

t.test('one load serves all who ask', async (t) => {
  const { credentials, loads, of, answer } = keeper();
  t.equal(credentials.current, undefined);
  const asked = [credentials.get(), credentials.get(), credentials.refresh()];
  await answer(of('first', 60 * MINUTE));
  for (const one of await Promise.all(asked)) t.match(one, { accessKeyId: 'first' });
  t.match(await credentials.get(), { accessKeyId: 'first' });
  t.match(credentials.current, { accessKeyId: 'first' });
  t.equal(loads.length, 1);
});

t.test(
  'in their last five minutes they are given out while a replacement is looked for',
  async (t) => {
    const { clock, credentials, loads, of, answer, begin } = keeper();
    await begin(of('first', 60 * MINUTE));
    await clock.advance(55 * MINUTE);
    t.match(await credentials.get(), { accessKeyId: 'first' });
    t.equal(loads.length, 1);
    await clock.advance(1);
    t.match(await credentials.get(), { accessKeyId: 'first' }, 'without waiting');
    t.equal(loads.length, 2);
    await answer(of('second', 60 * MINUTE));
    t.match(await credentials.get(), { accessKeyId: 'second' });
  },
);

t.test('a renewal that fails leaves them until they expire', async (t) => {
  const { clock, credentials, loads, of, ask, answer, begin } = keeper();
  await begin(of('first', 60 * MINUTE));
  await clock.advance(58 * MINUTE);
  await credentials.get();
  await answer(new Error('IMDS is slow'));
  t.match(credentials.failure, { message: 'no AWS credentials on this node: IMDS is slow' });
  t.match(await credentials.get(), { accessKeyId: 'first' });
  t.equal(loads.length, 2, 'at most one load a second');
  await clock.advance(1_000);
  await credentials.get();
  t.equal(loads.length, 3);
  await answer(new Error('IMDS is slow'));
  await clock.advance(2 * MINUTE);
  t.equal(credentials.current, undefined);
  const last = ask();
  await answer(new Error('IMDS is gone'));
  await t.rejects(last, {
    name: 'NodeCredentialsError',
    code: 'ERR_NODE_CREDENTIALS',
    message: 'no AWS credentials on this node: IMDS is gone',
  });
});

t.test('without credentials, the error stands for a second', async (t) => {
  const { clock, credentials, loads, of, ask, answer } = keeper();
  const first = ask();
  await answer(new Error('no\nrole'));
  await t.rejects(first, { message: 'no AWS credentials on this node: no role' });
  await t.rejects(credentials.get(), { name: 'NodeCredentialsError' });
  t.equal(loads.length, 1);
  await clock.advance(1_000);
  const second = credentials.get();
  await answer(of('late'));
  t.match(await second, { accessKeyId: 'late' });
  t.equal(credentials.failure, undefined);
});

t.test('a refresh takes new ones, at most once a second', async (t) => {
  const { clock, credentials, loads, of, answer, begin } = keeper();
  await begin(of('first'));
  await clock.advance(60 * MINUTE);
  t.match(await credentials.get(), { accessKeyId: 'first' }, 'without an expiry they stay');
  const refreshed = Promise.all([credentials.refresh(), credentials.refresh()]);
  t.equal(loads.length, 2);
  await answer(of('second'));
  t.match(await refreshed, [{ accessKeyId: 'second' }, { accessKeyId: 'second' }]);
  t.match(await credentials.refresh(), { accessKeyId: 'second' });
  t.equal(loads.length, 2);
  await clock.advance(1_000);
  const failed = credentials.refresh();
  t.equal(loads.length, 3);
  await answer(new Error('being rewritten'));
  t.match(await failed, { accessKeyId: 'second' }, 'what is at hand is better than nothing');
});

t.test('after a refresh, others are looked for as soon as that may be', async (t) => {
  const { clock, credentials, loads, of, answer, begin, replaced } = keeper();
  await begin(of('first'));
  t.equal(replaced(), 1);
  const signedWith = await credentials.get();
  await clock.advance(300);
  await credentials.refresh();
  await clock.advance(699);
  t.equal(loads.length, 1);
  await clock.advance(1);
  t.equal(loads.length, 2, 'a second after the load before');
  await answer(of('first'));
  t.equal(replaced(), 1);
  t.ok(credentials.isCurrent(signedWith), 'nobody has written others yet');
  await clock.advance(1_000);
  t.equal(loads.length, 3);
  await answer(of('second'));
  t.equal(replaced(), 2);
  t.notOk(credentials.isCurrent(signedWith));
  await clock.advance(MINUTE);
  t.equal(loads.length, 3, 'and no longer than that');
  t.equal(clock.pending, 0);
});

t.test('nor are they looked for when nobody waits any more', async (t) => {
  const { clock, credentials, loads, of, answer, begin, replaced } = keeper();
  await begin(of('first'));
  await clock.advance(500);
  await credentials.refresh();
  await clock.advance(500);
  await answer(new Error('being rewritten'));
  await clock.advance(1_000);
  await answer(of('first'));
  await clock.advance(MINUTE);
  t.equal(loads.length, 3, 'after two seconds');
  void credentials.refresh();
  t.equal(loads.length, 4);
  credentials.stop();
  await answer(of('first'));
  await clock.advance(MINUTE);
  t.equal(loads.length, 4, 'or after the end');
  t.equal(replaced(), 1);
  t.equal(clock.pending, 0);
});

t.test('expired ones are never given out', async (t) => {
  const { credentials, of, ask, answer } = keeper();
  const first = ask();
  await answer(of('stale', -1));
  await t.rejects(first, { message: 'AWS credentials of this node have expired' });
  t.equal(credentials.current, undefined);
});

t.test('a load that never ends is given up', async (t) => {
  const { clock, credentials, of, answer } = keeper();
  const first = credentials.get();
  const failed = t.rejects(first, { message: /no source answered within 15000 ms/ });
  await clock.advance(15_000);
  await failed;
  const second = credentials.get();
  await answer(of('second'));
  t.match(await second, { accessKeyId: 'second' });
  t.equal(clock.pending, 0);
});

t.test('with --rotate-credentials they are read anew every minute', async (t) => {
  const { clock, credentials, loads, of, answer, begin } = keeper({ rotate: true });
  credentials.start();
  credentials.start();
  await begin(of('first'));
  for (const id of ['second', 'third']) {
    await clock.advance(MINUTE);
    await answer(of(id));
    t.match(credentials.current, { accessKeyId: id });
  }
  t.equal(loads.length, 3);
  await clock.advance(MINUTE);
  await answer(new Error('half a file'));
  t.match(credentials.current, { accessKeyId: 'third' });
  credentials.stop();
  await clock.advance(10 * MINUTE);
  t.equal(loads.length, 4);
  t.equal(clock.pending, 0);
});

t.test('without it they are not', async (t) => {
  const { clock, credentials, loads, of, begin } = keeper();
  credentials.start();
  await begin(of('first'));
  await clock.advance(10 * MINUTE);
  t.equal(loads.length, 1);
});

t.test('a file that is being rewritten is not taken for a change of source', async (t) => {
  const { clock, credentials, of, answer, begin } = keeper({ rotate: true });
  await begin(of('file', 60 * MINUTE));
  credentials.start();
  await clock.advance(MINUTE);
  await answer(of('instance', 60 * MINUTE, true));
  t.match(await credentials.get(), { accessKeyId: 'file' });
  await clock.advance(59 * MINUTE);
  await answer(of('instance', 60 * MINUTE, true));
  t.match(await credentials.get(), { accessKeyId: 'instance' }, 'until the file is out of date');
  await clock.advance(MINUTE);
  await answer(of('file again', 60 * MINUTE));
  t.match(await credentials.get(), { accessKeyId: 'file again' });
  credentials.stop();
});

t.test('it says what is waited for while there are none', async (t) => {
  const { clock, credentials, of, ask, answer, asks } = keeper();
  t.equal(credentials.loadingFrom, undefined);
  void ask();
  t.equal(credentials.loadingFrom, 'the environment and the shared files');
  asks('instance metadata');
  t.equal(credentials.loadingFrom, 'instance metadata');
  await answer(of('first', 10 * MINUTE));
  t.equal(credentials.loadingFrom, undefined);
  await clock.advance(6 * MINUTE);
  void ask();
  t.equal(credentials.loadingFrom, undefined, 'those that are there serve while others are loaded');
  await clock.advance(5 * MINUTE);
  void ask();
  t.equal(credentials.loadingFrom, 'the environment and the shared files', 'until they expire');
  await answer(of('second'));
});
