import fc from 'fast-check';
import t from 'tap';
import type { LiveToken } from '../../src/sessions/recent-tokens.ts';
import type { SessionLookup } from '../../src/sessions/role-sessions.ts';
import type { ServedCredentials } from '../../src/sessions/served-credentials.ts';
import { isRepetition, type PendingCall, SessionsHarness } from '../support/sessions-harness.ts';

// Random interleavings of pods asking, EKS Auth answering one way or another, time passing
// and sessions being flushed. Whatever happens: never two fetches of one key at once, unless a
// flush has ended the first; never one session's credentials under another's key; never
// credentials from before a flush, or that are about to expire; and never more than are allowed.

/** Credentials with less left than this are not served, milliseconds. */
const MIN_TIME_LEFT = 15_000;
const MINUTE = 60_000;
/** Of credentials: short, so that a run sees renewals and ends without hours of small steps. */
const LIFETIME = 20 * MINUTE;

const ACCOUNTS = ['cart', 'checkout', 'search'];

type Step =
  | { do: 'ask'; account: number; pod: number; hit: boolean }
  | { do: 'answer'; which: number; how: 'grant' | 'throttled' | 'service' | 'refused' | 'token' }
  | { do: 'pass'; ms: number }
  | { do: 'pass-to'; what: 'renewal' | 'end' }
  | { do: 'flush'; account: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      account: fc.nat({ max: ACCOUNTS.length - 1 }),
      pod: fc.nat({ max: 3 }),
      hit: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      which: fc.oneof(fc.nat({ max: 2 }), fc.nat({ max: 9 })),
      how: fc.constantFrom(
        ...(['grant', 'grant', 'grant', 'grant', 'throttled', 'service', 'refused'] as const),
        'token' as const,
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('pass-to' as const),
      what: fc.constantFrom('renewal' as const, 'renewal', 'end'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.constantFrom(0, 10, 500, 1_100, 7_000, 31_000, 12 * MINUTE),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('flush' as const),
      account: fc.nat({ max: ACCOUNTS.length - 1 }),
    }),
  },
);

/** Which call is answered: one of the newest, since the oldest are likely to be past waiting for. */
function answered(calls: readonly PendingCall[], which: number): PendingCall | undefined {
  return calls.at(-1 - (which % Math.max(1, calls.length)));
}

/** A run: what has happened in it, and what must hold after each step. */
class Run {
  readonly #h: SessionsHarness;
  readonly #maxCacheSize: number;
  readonly #pods = new Map<string, LiveToken>();
  readonly #grants = new Map<string, PendingCall>();
  readonly #madeIn = new Map<PendingCall, number>();
  readonly #flushedIn = new Map<string, number>();
  /** What fetches have brought since the last check, and for whom. */
  readonly #given: [serviceAccount: string, credentials: ServedCredentials][] = [];
  #steps = 0;

  constructor(maxCacheSize: number) {
    this.#h = new SessionsHarness({ maxCacheSize });
    this.#h.lifetime = LIFETIME;
    this.#maxCacheSize = maxCacheSize;
  }

  async take(step: Step): Promise<void> {
    this.#steps += 1;
    const h = this.#h;
    switch (step.do) {
      case 'ask':
        if (!step.hit || !this.#hit(step.account)) this.#ask(step.account, `pod-${step.pod}`);
        break;
      case 'answer': {
        const call = answered(h.unanswered, step.which);
        if (call === undefined) break;
        if (step.how === 'grant') await this.#grantAlone(call);
        else call.fail({ kind: step.how, code: step.how });
        break;
      }
      case 'pass':
        await h.clock.advance(step.ms);
        break;
      case 'pass-to':
        await this.#passTo(step.what);
        break;
      case 'flush':
        h.sessions.flush((session) => session.serviceAccount === ACCOUNTS[step.account]);
        this.#flushedIn.set(ACCOUNTS[step.account] as string, this.#steps);
    }
    await h.clock.advance(0);
    this.#check();
  }

  /** However it went: once EKS Auth is well, everybody gets credentials. */
  async recover(): Promise<void> {
    this.#steps += 1;
    const h = this.#h;
    h.auto = (call) => this.#grant(call);
    for (const call of [...h.unanswered]) this.#grant(call);
    await h.clock.advance(40_000);
    this.#check();
    for (const [account, name] of ACCOUNTS.entries()) {
      const opened = this.#ask(account, 'late');
      if (opened.kind === 'credentials') continue;
      if (opened.kind !== 'fetch') throw new Error(opened.kind);
      await h.clock.advance(3_000);
      const outcome = await opened.fetch.settled;
      this.#check();
      if (!outcome.ok) throw new Error(`nothing for ${name}: ${outcome.failure.code}`);
      this.#checkCredentials(name, outcome.credentials);
    }
  }

  /** Passes until the next session is due for renewal, or its credentials are not served any more. */
  async #passTo(what: 'renewal' | 'end'): Promise<void> {
    const now = this.#h.clock.now();
    const times = [...this.#h.sessions.all()].flatMap(({ credentials, renewAt }) =>
      credentials === undefined ? [] : what === 'renewal' ? renewAt : credentials.servableUntil,
    );
    const next = Math.min(...times.filter((time) => time > now));
    if (next !== Number.POSITIVE_INFINITY) await this.#h.clock.advance(next - now);
  }

  /** Asks as for a token that was verified before; returns whether there were credentials. */
  #hit(account: number): boolean {
    const name = ACCOUNTS[account] as string;
    const found = this.#h.sessions.servable(`service-account:shop/${name}`, this.#h.clock.now());
    if (found !== undefined) this.#checkCredentials(name, found.credentials);
    return found !== undefined;
  }

  #ask(account: number, pod: string): SessionLookup {
    const name = ACCOUNTS[account] as string;
    const live = this.#pods.get(`${name} ${pod}`) ?? this.#h.pod(name, `${name}-${pod}`);
    this.#pods.set(`${name} ${pod}`, live);
    const opened = this.#h.open(live);
    if (opened.kind === 'credentials') this.#checkCredentials(name, opened.credentials);
    if (opened.kind === 'fetch') {
      void opened.fetch.settled.then((outcome) => {
        if (outcome.ok) this.#given.push([name, outcome.credentials]);
      });
    }
    return opened;
  }

  /** What has just come and somebody waits for is not what makes room. */
  async #grantAlone(call: PendingCall): Promise<void> {
    this.#grant(call);
    await this.#h.clock.advance(0);
    const [given] = this.#given;
    if (given === undefined || this.#maxCacheSize === 0) return;
    const [name, credentials] = given;
    const held = this.#h.sessions.find(`service-account:shop/${name}`)?.credentials;
    if (held !== credentials) throw new Error(`what ${name} was given has not been kept`);
  }

  #grant(call: PendingCall): void {
    const accessKeyId = `ASIA${this.#grants.size}`;
    this.#grants.set(accessKeyId, call);
    call.grant({ accessKeyId });
  }

  #check(): void {
    const h = this.#h;
    for (const call of h.calls) {
      if (!this.#madeIn.has(call)) this.#madeIn.set(call, this.#steps);
    }
    this.#checkOverlaps();
    for (const [name, credentials] of this.#given.splice(0)) {
      this.#checkCredentials(name, credentials);
    }
    for (const { serviceAccount, credentials } of h.sessions.all()) {
      if (credentials === undefined) continue;
      if (h.clock.now() < credentials.servableUntil) {
        this.#checkCredentials(serviceAccount, credentials);
      }
    }
    if (h.sessions.size > this.#maxCacheSize) throw new Error('more sessions than allowed');
    const held = [...h.sessions.all()].filter(({ credentials }) => credentials !== undefined);
    if (held.length !== h.sessions.size) throw new Error('a wrong count of sessions');
  }

  #checkOverlaps(): void {
    const latest = new Map<string, PendingCall>();
    for (const call of this.#h.unanswered) {
      const { serviceAccount } = call.session;
      // The first or the second call of a fetch that the other one has ended.
      if (call.fetch.ended) continue;
      // After a flush the fetch before it may still be under way beside the one that counts.
      if (this.#isFlushed(serviceAccount, call)) continue;
      const before = latest.get(serviceAccount);
      if (before !== undefined && !isRepetition(call, before)) {
        throw new Error(`two fetches of ${serviceAccount} at once`);
      }
      latest.set(serviceAccount, call);
    }
  }

  #isFlushed(serviceAccount: string, call: PendingCall): boolean {
    const madeIn = this.#madeIn.get(call) ?? this.#steps;
    return madeIn < (this.#flushedIn.get(serviceAccount) ?? 0);
  }

  #checkCredentials(name: string, credentials: ServedCredentials): void {
    const call = this.#grants.get(credentials.accessKeyId);
    if (call === undefined) throw new Error('credentials that nobody has granted');
    const { serviceAccount } = (this.#h.known.get(call.token) as LiveToken).pod;
    if (serviceAccount !== name) throw new Error(`${name} is given those of ${serviceAccount}`);
    if (this.#isFlushed(name, call)) throw new Error('credentials from before a flush');
    if (credentials.expiresAt < this.#h.clock.now() + MIN_TIME_LEFT) throw new Error('spent');
  }
}

async function run(steps: Step[], maxCacheSize: number): Promise<void> {
  const run = new Run(maxCacheSize);
  for (const step of steps) await run.take(step);
  await run.recover();
}

t.test('under any interleaving', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 80, size: 'max' }),
      fc.constantFrom(0, 1, 1, 2, 100),
      run,
    ),
    { numRuns: 250 },
  );
  t.pass('no counter-example');
});
