import fc from 'fast-check';
import t from 'tap';
import type { LiveToken } from '../../src/sessions/recent-tokens.ts';
import { HOUR, SessionsHarness } from '../support/sessions-harness.ts';

// Random interleavings of pods asking, EKS Auth answering one way or another, time passing
// and sessions being flushed. Whatever happens: never two fetches of one key at once, and
// never one session's credentials under another's key.

/** A call without an answer for so long is taken to be lost, and may be made again, milliseconds. */
const LOST_AFTER = 6_000;

const ACCOUNTS = ['cart', 'checkout', 'search'];

type Step =
  | { do: 'ask'; account: number; pod: number }
  | { do: 'answer'; which: number; how: 'grant' | 'throttled' | 'service' | 'refused' | 'token' }
  | { do: 'pass'; ms: number }
  | { do: 'flush'; account: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      account: fc.nat({ max: ACCOUNTS.length - 1 }),
      pod: fc.nat({ max: 3 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      which: fc.nat({ max: 9 }),
      how: fc.constantFrom('grant' as const, 'throttled', 'service', 'refused', 'token'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.constantFrom(0, 10, 500, 1_100, 5_000, HOUR, 3 * HOUR, 6 * HOUR),
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

/** The service account that a body's credentials were issued for, by the harness's role name. */
function accountOf(h: SessionsHarness, key: string): string | undefined {
  const session = h.sessions.servable(key, h.clock.now());
  return session?.credentials?.assumedRoleArn.split('/')[1];
}

async function run(steps: Step[], maxCacheSize: number): Promise<void> {
  const h = new SessionsHarness({ maxCacheSize });
  const pods = new Map<string, LiveToken>();
  const podOf = (account: number, pod: number): LiveToken => {
    const name = `${ACCOUNTS[account]}-${pod}`;
    const live = pods.get(name) ?? h.pod(ACCOUNTS[account] as string, name);
    pods.set(name, live);
    return live;
  };
  // After a flush the fetch before it may still be under way beside the one that counts.
  const flushed = new Set<unknown>();
  const check = () => {
    const lastCall = new Map<string, number>();
    for (const call of h.unanswered) {
      if (flushed.has(call)) continue;
      const account = h.known.get(call.token)?.pod.serviceAccount ?? '';
      const before = lastCall.get(account);
      if (before !== undefined && call.at < before + LOST_AFTER) {
        throw new Error(`two fetches of ${account} at once`);
      }
      lastCall.set(account, call.at);
    }
    for (const account of ACCOUNTS) {
      const served = accountOf(h, `service-account:shop/${account}`);
      if (served !== undefined && served !== account) {
        throw new Error(`credentials of ${served} under the key of ${account}`);
      }
    }
    if (h.sessions.size > maxCacheSize) throw new Error('more sessions than allowed');
  };
  for (const one of steps) {
    switch (one.do) {
      case 'ask':
        h.open(podOf(one.account, one.pod));
        break;
      case 'answer': {
        const call = h.unanswered[one.which % Math.max(1, h.unanswered.length)];
        if (call === undefined) break;
        if (one.how === 'grant') call.grant();
        else call.fail({ kind: one.how, code: one.how });
        break;
      }
      case 'pass':
        await h.clock.advance(one.ms);
        break;
      case 'flush':
        h.sessions.flush((session) => session.serviceAccount === ACCOUNTS[one.account]);
        for (const call of h.unanswered) {
          if (h.known.get(call.token)?.pod.serviceAccount === ACCOUNTS[one.account]) {
            flushed.add(call);
          }
        }
    }
    await h.clock.advance(0);
    check();
  }
  // However it went: once EKS Auth is well, everybody gets credentials.
  h.auto = (call) => call.grant();
  for (const call of [...h.unanswered]) call.grant();
  await h.clock.advance(40_000);
  for (let account = 0; account < ACCOUNTS.length; account += 1) {
    const live = h.pod(ACCOUNTS[account] as string, 'late');
    const opened = h.open(live);
    if (opened.kind === 'fetch') {
      await h.clock.advance(3_000);
      const outcome = await opened.fetch.settled;
      if (!outcome.ok) throw new Error(`nothing for ${ACCOUNTS[account]}: ${outcome.failure.code}`);
      if (outcome.credentials.assumedRoleArn.split('/')[1] !== ACCOUNTS[account]) {
        throw new Error('credentials of another session');
      }
    } else if (opened.kind !== 'credentials') throw new Error(opened.kind);
  }
}

t.test('under any interleaving', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 60 }),
      fc.constantFrom(0, 1, 2, 100),
      run,
    ),
    { numRuns: 150 },
  );
  t.pass('no counter-example');
});
