import fc from 'fast-check';
import t from 'tap';
import { scopeOf } from '../../src/sessions/session-key.ts';
import {
  type Ask,
  accessKeyIdOf,
  CLIENT_WAIT,
  type MintedPod,
  type MintedToken,
  RequestsHarness,
} from '../support/requests-harness.ts';
import { isRepetition, type PendingCall } from '../support/sessions-harness.ts';
import { ISSUER, signingKey } from '../tokens/signed-tokens.ts';
import { ACCOUNTS, ADDRESSES, PODS, type SetUp, type Step, setUp, step } from './request-steps.ts';

// Random interleavings of all that can happen behind the listener. Whatever they are:
//
// - there are never two fetches of one role session at once, unless a flush has ended the first;
// - nobody is given credentials that were fetched for another role session;
// - a token that has not verified here neither joins a shared session nor feeds one, and one whose
//   key was withdrawn no longer does;
// - credentials that were fetched before a flush are given to nobody after it;
// - nobody is given credentials that are about to expire;
// - every request is answered within the client's wait.

/** Credentials with less left than this are not served, milliseconds. */
const MIN_TIME_LEFT = 15_000;
/** Short, so that a run sees renewals and ends without hours of the clock's small steps. */
const LIFE_OF_CREDENTIALS = 20 * 60_000;

const KEYS = ['first', 'second', 'third'].map((kid) => signingKey('ES256', kid));
/** Not the issuer's, under the name of one that is. */
const FORGED = { ...signingKey('ES256'), kid: 'first' };
const ALIEN = signingKey('ES256', 'alien');

/** What EKS Auth has granted. */
interface Grant {
  readonly call: PendingCall;
  readonly expiresAt: number;
}

/** A run: what has happened in it, and what must hold after each step. */
class Run {
  readonly h: RequestsHarness;
  readonly #setUp: SetUp;
  readonly #tokens = new Map<string, MintedToken>();
  readonly #current = new Map<string, MintedToken>();
  readonly #grants = new Map<string, Grant>();
  /** In which step each call was made, and each account flushed last. */
  readonly #madeIn = new Map<PendingCall, number>();
  readonly #flushedIn = new Map<string, number>();
  readonly #checked = new Set<Ask>();
  /** The key that tokens are signed with, and the oldest that is still published. */
  #key = 0;
  #oldest = 0;
  #steps = 0;

  constructor(setUp: SetUp) {
    this.#setUp = setUp;
    this.h = new RequestsHarness({ scopeRules: setUp, maxCacheSize: setUp.maxCacheSize });
    this.h.autoVerify = !setUp.heldVerdicts;
    if (setUp.keysAtStart) this.#publish();
    if (setUp.issuerKnown) void this.h.keyRing.useIssuer(ISSUER);
  }

  async take(step: Step): Promise<void> {
    const { h } = this;
    this.#steps += 1;
    switch (step.do) {
      case 'ask':
        h.ask(this.#token(step.pod, step.as).text, ADDRESSES[step.address]);
        break;
      case 'verdict':
        await pick(h.pendingVerifications, step.which)?.judge();
        break;
      case 'answer': {
        // The oldest are likely to be past waiting for.
        const call = pick(h.eksAuth.unanswered.toReversed(), step.which);
        if (call === undefined) break;
        if (step.how === 'grant') this.#grant(call);
        else call.fail({ kind: step.how, code: step.how });
        break;
      }
      case 'pass':
        await h.pass(step.ms);
        break;
      case 'pass-to-end': {
        const now = h.clock.now();
        const ends = [...this.#grants.values()].map(({ expiresAt }) => expiresAt - step.left);
        const next = Math.min(...ends.filter((end) => end > now));
        if (next !== Number.POSITIVE_INFINITY) await h.pass(next - now);
        break;
      }
      case 'jump':
        h.clock.jump(step.ms);
        break;
      case 'flush': {
        const account = ACCOUNTS[step.account] as (typeof ACCOUNTS)[number];
        h.eksAuth.sessions.flush((session) => nameOf(session) === nameOf(account));
        this.#flushedIn.set(nameOf(account), this.#steps);
        break;
      }
      case 'rotate-token':
        this.#current.delete(`genuine ${step.pod}`);
        break;
      case 'pod-gone':
        h.eksAuth.sessions.forgetPod((PODS[step.pod] as MintedPod).podUid);
        break;
      case 'keys':
        this.#keys(step.what);
    }
    await h.settle();
    this.check();
  }

  /** From now on everything outside is well. */
  async recover(): Promise<void> {
    const { h } = this;
    this.#steps += 1;
    h.autoVerify = true;
    h.eksAuth.auto = (call) => this.#grant(call);
    this.#publish();
    h.source.release();
    for (const call of [...h.eksAuth.unanswered]) this.#grant(call);
    if (!this.#setUp.issuerKnown) h.keyRing.learnIssuer(ISSUER);
    // The longest that a flight, a fetch of keys or a refusal is put off for.
    await h.pass(40_000);
    this.check();
  }

  /** Every pod's new token is given credentials, by a client that tries a few times. */
  async servesAll(): Promise<void> {
    const { h } = this;
    for (const pod of PODS.keys()) {
      this.#current.delete(`genuine ${pod}`);
      const { text } = this.#token(pod, 'genuine');
      if (!(await this.#isServed(text))) {
        const { answer } = h.asks.at(-1) as Ask;
        throw new Error(`nothing for pod ${pod} once all is well: ${JSON.stringify(answer)}`);
      }
    }
  }

  async #isServed(text: string): Promise<boolean> {
    for (let tries = 1; tries <= 20; tries += 1) {
      const ask = this.h.ask(text);
      await this.h.pass(CLIENT_WAIT);
      this.check();
      if (ask.answer?.kind === 'credentials') return true;
      await this.h.pass(2_000);
    }
    return false;
  }

  check(): void {
    const { h } = this;
    for (const call of h.eksAuth.calls) {
      if (this.#madeIn.has(call)) continue;
      this.#madeIn.set(call, this.#steps);
      this.#checkCall(call);
    }
    this.#checkOverlaps();
    for (const ask of h.asks) {
      if (this.#checked.has(ask)) continue;
      if (ask.answer !== undefined) {
        this.#checked.add(ask);
        this.#checkAnswer(ask);
      } else if (h.clock.elapsed() >= ask.at + CLIENT_WAIT) {
        throw new Error('a request that outlasts the wait of its client');
      }
    }
    const { maxCacheSize } = this.#setUp;
    if (h.eksAuth.sessions.size > maxCacheSize) throw new Error('more sessions than allowed');
  }

  #token(pod: number, as: 'genuine' | 'forged' | 'alien'): MintedToken {
    const name = `${as} ${pod}`;
    const known = this.#current.get(name);
    if (known !== undefined) return known;
    const key = { genuine: KEYS[this.#key], forged: FORGED, alien: ALIEN }[as];
    const issuer = as === 'alien' ? 'https://alien.example' : ISSUER;
    const minted = this.h.mint(PODS[pod] as MintedPod, key as (typeof KEYS)[number], issuer);
    this.#current.set(name, minted);
    this.#tokens.set(minted.text, minted);
    return minted;
  }

  #grant(call: PendingCall): void {
    const accessKeyId = `ASIA${this.#grants.size}`;
    const expiresAt = this.h.clock.now() + LIFE_OF_CREDENTIALS;
    this.#grants.set(accessKeyId, { call, expiresAt });
    call.grant({ accessKeyId, expiresAt });
  }

  #keys(what: Extract<Step, { do: 'keys' }>['what']): void {
    const { source, keyRing } = this.h;
    if (what === 'appear') this.#publish();
    else if (what === 'away') source.keys = undefined;
    else if (what === 'hang') source.hold();
    else if (what === 'answer') source.release();
    else if (what === 'rotate') {
      // Tokens are signed with the next key from now on; the ones before it stay published.
      this.#key = Math.min(this.#key + 1, KEYS.length - 1);
      this.#publish();
    } else {
      this.#oldest = this.#key;
      this.#publish();
    }
    void keyRing.fetch();
  }

  #publish(): void {
    this.h.source.keys = KEYS.slice(this.#oldest, this.#key + 1).map(({ jwk }) => jwk);
  }

  /** A shared session is fetched with tokens that have verified here, and for their own group. */
  #checkCall({ token, session }: PendingCall): void {
    if (session.scope === 'token') return;
    if (!this.h.verified.has(token)) {
      throw new Error(`a token that nobody verified fetches ${session.key}`);
    }
  }

  #checkOverlaps(): void {
    const latest = new Map<string, PendingCall>();
    for (const call of this.h.eksAuth.unanswered) {
      const { session } = call;
      // The first or the second call of a fetch that the other one has ended.
      if (call.fetch.ended) continue;
      // What a flush has ended goes on beside the fetch that counts, and so does what was fetched
      // for a token and is its pod's session now.
      const flushed = (this.#madeIn.get(call) ?? 0) < (this.#flushedIn.get(nameOf(session)) ?? 0);
      if (flushed || (session.scope === 'token' && session.ended)) continue;
      const before = latest.get(session.key);
      if (before !== undefined && !isRepetition(call, before)) {
        throw new Error(`two fetches of ${session.key} at once`);
      }
      latest.set(session.key, call);
    }
  }

  #checkAnswer(ask: Ask): void {
    const { token, answer, at, answeredAt = Number.NaN } = ask;
    if (!(answeredAt <= at + CLIENT_WAIT)) throw new Error('an answer that came too late');
    const accessKeyId = accessKeyIdOf(answer);
    if (accessKeyId === undefined) return;
    const grant = this.#grants.get(accessKeyId);
    if (grant === undefined) throw new Error('credentials that EKS Auth has not granted');
    const asked = this.#tokens.get(token) as MintedToken;
    const fetched = this.#tokens.get(grant.call.token) as MintedToken;
    if (asked !== fetched) {
      const [group, other] = [this.#groupOf(asked), this.#groupOf(fetched)];
      if (group !== other) throw new Error(`${group} is given credentials of ${other}`);
      for (const one of [token, grant.call.token]) {
        if (!this.h.verified.has(one)) throw new Error('a token that nobody verified shares');
      }
    }
    if (asked !== fetched || grant.call.session.scope !== 'token') {
      const used = this.h.keySets.slice(Math.max(0, ask.keySetsBefore - 1), ask.keySetsAfter);
      if (!used.some((kids) => kids.includes(asked.kid))) {
        throw new Error('a token shares whose key was withdrawn');
      }
    }
    const madeIn = this.#madeIn.get(grant.call) ?? this.#steps;
    if (madeIn < (this.#flushedIn.get(nameOf(asked.pod)) ?? 0)) {
      throw new Error('credentials from before a flush');
    }
    if (grant.expiresAt < this.h.clock.now() + MIN_TIME_LEFT) throw new Error('spent credentials');
  }

  /** Whoever may share, in words of the pods alone: not by the code that makes the keys. */
  #groupOf({ pod, text }: MintedToken): string {
    const scope = scopeOf(pod as never, this.#setUp);
    if (scope === 'token') return text;
    return scope === 'pod' ? pod.podUid : pod.serviceAccountUid;
  }
}

function nameOf({ namespace, serviceAccount }: Pick<MintedPod, 'namespace' | 'serviceAccount'>) {
  return `${namespace}/${serviceAccount}`;
}

function pick<T>(from: readonly T[], which: number): T | undefined {
  return from[which % Math.max(1, from.length)];
}

async function run(setUp: SetUp, steps: readonly Step[]): Promise<void> {
  const run = new Run(setUp);
  try {
    for (const step of steps) await run.take(step);
    await run.recover();
    await run.servesAll();
  } finally {
    run.h.stop();
  }
}

t.test('under any interleaving of all that is behind the listener', async (t) => {
  await fc.assert(
    fc.asyncProperty(setUp, fc.array(step, { minLength: 1, maxLength: 100, size: 'max' }), run),
    { numRuns: 120 },
  );
  t.pass('no counter-example');
});
