import t from 'tap';
import { KeyRing } from '../../src/identity/key-ring.ts';
import { capturedLog } from '../support/captured-log.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';
import { ISSUER, PATIENCE, ring } from './ring-harness.ts';
import { published, ScriptedSource } from './scripted-source.ts';

t.test('another issuer: other sources, and nothing proven', async (t) => {
  const source = new ScriptedSource('a', [published('1')]);
  const { keyRing, issuers } = ring(source);
  await keyRing.useIssuer(ISSUER);
  keyRing.prove(keyRing.keys?.id as number);
  t.equal(await keyRing.useIssuer(ISSUER), false, 'the same again changes nothing');
  t.equal(source.asked, 1);
  t.equal(keyRing.proven, true);
  await keyRing.useIssuer('https://other.example');
  t.strictSame(issuers, [ISSUER, 'https://other.example']);
  t.equal(keyRing.issuer, 'https://other.example');
  t.equal(keyRing.keys?.issuer, 'https://other.example');
  t.equal(keyRing.proven, false);
  keyRing.stop();
});

t.test('what is under way for one issuer is not taken for the next', async (t) => {
  const sources: Record<string, ScriptedSource> = {
    [ISSUER]: new ScriptedSource('old', [published('old')]),
    'https://other.example': new ScriptedSource('new', [published('new')]),
  };
  const clock = new ManualClock();
  const keyRing = new KeyRing({
    clock,
    log: capturedLog().log,
    sourcesOf: (issuer) => [sources[issuer] as ScriptedSource],
    onChange: () => undefined,
    patience: PATIENCE,
    clusterName: 'test',
  });
  sources[ISSUER]?.hold();
  void keyRing.useIssuer(ISSUER);
  await settle();
  const changed = keyRing.useIssuer('https://other.example');
  await settle();
  sources[ISSUER]?.release();
  t.equal(await changed, true);
  t.equal(keyRing.keys?.issuer, 'https://other.example');
  t.strictSame(
    keyRing.keys?.jwks.keys.map((key) => key.kid),
    ['new'],
  );
  keyRing.stop();
});

t.test(
  'an issuer that is learned while the keys of another cannot be had is asked next',
  async (t) => {
    const [before, now] = ['https://before.example', 'https://now.example'] as const;
    const away = new ScriptedSource('away');
    const source = new ScriptedSource('source', [published('of-now')]);
    const clock = new ManualClock();
    const keyRing = new KeyRing({
      clock,
      log: capturedLog().log,
      sourcesOf: (issuer) => [issuer === before ? away : source],
      onChange: () => undefined,
      patience: PATIENCE,
      clusterName: 'test',
      cache: {
        read: async () => ({
          clusterName: 'test',
          issuer: before,
          jwks: { keys: [published('of-before')] },
          confirmedAt: clock.now(),
        }),
        write: async () => undefined,
      },
    });
    t.equal(await keyRing.recall(), before);
    away.hold();
    const first = keyRing.useIssuer(before, { remembered: true });
    keyRing.learnIssuer(now);
    away.release();
    t.equal(await first, true);
    t.equal(keyRing.keys?.issuer, now);
    t.equal(keyRing.outdated, false);
    keyRing.stop();
  },
);
