import t from 'tap';
import { IssuerSearch } from '../../src/identity/issuer-search.ts';
import type { CachedKeys } from '../../src/identity/key-cache.ts';
import { KeyRing } from '../../src/identity/key-ring.ts';
import type { FetchedDocument } from '../../src/workers/fetch-document.ts';
import { capturedLog } from '../support/captured-log.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';
import { published, ScriptedSource } from './scripted-source.ts';

interface SetUp {
  /** What the API server answers; undefined: there is none. */
  readonly apiServer?: () => FetchedDocument;
  readonly kept?: string;
}

function setUp({ apiServer, kept }: SetUp) {
  const clock = new ManualClock();
  const { log, lines } = capturedLog();
  const source = new ScriptedSource('source', [published('1')]);
  const cached = (issuer: string): CachedKeys => ({
    clusterName: 'test',
    issuer,
    jwks: { keys: [published('1')] },
    confirmedAt: clock.now(),
  });
  const keyRing = new KeyRing({
    clock,
    log,
    sourcesOf: () => [source],
    onChange: () => undefined,
    patience: 1_900,
    clusterName: 'test',
    cache: {
      read: async () => (kept === undefined ? undefined : cached(kept)),
      write: async () => undefined,
    },
  });
  let asked = 0;
  const search = new IssuerSearch({
    keyRing,
    clock,
    log,
    apiServer: apiServer && {
      request: async (path) => ({ url: `https://api${path}`, timeout: 1 }),
    },
    workers: {
      fetchDocument: async () => {
        asked += 1;
        return apiServer?.() ?? { failure: 'is not there' };
      },
    },
  });
  return { clock, lines, keyRing, search, source, asked: () => asked };
}

const GIVEN = 'https://given.example';
const NAMED = 'https://named.example';
const KEPT = 'https://kept.example';
const answers = (): FetchedDocument => ({ document: { issuer: NAMED } });

t.test('the issuer that was given goes before all', async (t) => {
  const { search, keyRing, asked } = setUp({ apiServer: answers, kept: KEPT });
  search.start(GIVEN);
  await settle();
  t.equal(keyRing.issuer, GIVEN);
  t.equal(asked(), 0);
  search.stop();
});

t.test('then the one that the API server names', async (t) => {
  const { search, keyRing } = setUp({ apiServer: answers, kept: KEPT });
  search.start(undefined);
  await settle();
  t.equal(keyRing.issuer, NAMED);
  search.stop();
});

t.test('then the one of an earlier run', async (t) => {
  const { search, keyRing } = setUp({ kept: KEPT });
  search.start(undefined);
  await settle();
  t.equal(keyRing.issuer, KEPT);
  search.stop();
});

t.test('that one gives way to what EKS Auth accepts, until a token has proven it', async (t) => {
  const replaced = setUp({ kept: KEPT });
  replaced.search.start(undefined);
  await settle();
  replaced.keyRing.learnIssuer(NAMED);
  await settle();
  t.equal(replaced.keyRing.issuer, NAMED);
  t.equal(replaced.keyRing.keys?.issuer, NAMED);
  replaced.keyRing.learnIssuer(KEPT);
  t.equal(replaced.keyRing.issuer, NAMED, 'once');

  const proven = setUp({ kept: KEPT });
  proven.search.start(undefined);
  await settle();
  proven.keyRing.prove(proven.keyRing.keys?.id ?? 0);
  proven.keyRing.learnIssuer(NAMED);
  t.equal(proven.keyRing.issuer, KEPT);
  for (const { search } of [replaced, proven]) search.stop();
});

t.test('one that was given, or that the API server names, never gives way', async (t) => {
  for (const [given, issuer] of [
    [GIVEN, GIVEN],
    [undefined, NAMED],
  ]) {
    const { search, keyRing } = setUp({ apiServer: answers, kept: KEPT });
    search.start(given);
    await settle();
    keyRing.learnIssuer('https://other.example');
    t.equal(keyRing.issuer, issuer);
    search.stop();
  }
});

t.test('else none, until EKS Auth accepts a token', async (t) => {
  const { search, keyRing, lines, clock } = setUp({});
  search.start(undefined);
  await clock.advance(60_000);
  t.equal(keyRing.issuer, undefined);
  t.match(lines, [{ level: 'info', msg: /first token that EKS Auth accepts/ }]);
  keyRing.learnIssuer(NAMED);
  t.equal(keyRing.issuer, NAMED);
  search.stop();
});

t.test('an API server that is away is asked again, and said to be once', async (t) => {
  let answer: FetchedDocument = { failure: 'answered 503' };
  const { search, keyRing, lines, clock, asked } = setUp({ apiServer: () => answer });
  search.start(undefined);
  await clock.advance(4_999);
  t.equal(asked(), 1);
  await clock.advance(10_001);
  t.equal(asked(), 4, 'every five seconds');
  t.equal(keyRing.issuer, undefined);
  t.match(lines, [{ level: 'warn', reason: 'the API server answered 503' }]);
  answer = { document: { issuer: NAMED } };
  await clock.advance(5_000);
  t.equal(keyRing.issuer, NAMED);
  await clock.advance(60_000);
  t.equal(asked(), 5, 'and never again');
  search.stop();
});

t.test('while the API server is away, the issuer of an earlier run serves', async (t) => {
  let answer: FetchedDocument = { failure: 'answered 503' };
  const { search, keyRing, clock, asked } = setUp({ apiServer: () => answer, kept: KEPT });
  search.start(undefined);
  await settle();
  t.equal(keyRing.issuer, KEPT);
  t.equal(keyRing.keys?.issuer, KEPT);
  await clock.advance(10_000);
  t.equal(asked(), 3, 'and it goes on being asked');
  answer = { document: { issuer: NAMED } };
  await clock.advance(5_000);
  t.equal(keyRing.issuer, NAMED, 'which has the last word');
  await clock.advance(60_000);
  t.equal(asked(), 4);
  search.stop();
});

t.test('an issuer that was learned meanwhile ends the search', async (t) => {
  const { search, keyRing, clock, asked } = setUp({
    apiServer: () => ({ failure: 'answered 503' }),
  });
  search.start(undefined);
  await settle();
  await keyRing.useIssuer(GIVEN);
  await clock.advance(60_000);
  t.equal(asked(), 1);
  t.equal(keyRing.issuer, GIVEN);
  search.stop();
});

t.test('requests wait for the first outcome, within their patience', async (t) => {
  const { search, keyRing, source } = setUp({ apiServer: answers });
  source.hold();
  search.start(undefined);
  let decided = false;
  void keyRing.decided().then(() => {
    decided = true;
  });
  await settle();
  t.equal(decided, false, 'not for the issuer alone, but for its keys');
  source.release();
  await settle();
  t.equal(decided, true);
  search.stop();
});

t.test('stopped, it asks no more', async (t) => {
  const { search, clock, asked } = setUp({ apiServer: () => ({ failure: 'answered 503' }) });
  search.start(undefined);
  await settle();
  search.stop();
  await clock.advance(60_000);
  t.equal(asked(), 1);
});
