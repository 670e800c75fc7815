import fc from 'fast-check';
import { LRUCache } from 'lru-cache';
import t from 'tap';
import { type VerifiedToken, VerifiedTokens } from '../../src/identity/verified-tokens.ts';

// Whatever is done with the cache, it holds what a well-known cache of least recently used things
// holds. All tokens are valid from 1,000 s to 2,000 s, and a minute before and after that.

/** The times at which a token is asked for; the first is the most frequent. */
const NOW = 1_500_000;
const TIMES = [NOW, NOW, NOW, 939_999, 940_000, 2_059_999, 2_060_000];

function isValid(now: number): boolean {
  return now >= 940_000 && now < 2_060_000;
}

function verified(token: string, kid: string): VerifiedToken {
  const pod = {
    namespace: 'shop',
    serviceAccount: 'cart',
    serviceAccountUid: 'account',
    pod: token,
    podUid: token,
    node: undefined,
    issuer: 'https://issuer.example',
    notBefore: 1_000_000,
    expiresAt: 2_000_000,
  };
  return {
    token,
    pod,
    kid,
    sessionKey: token,
    budget: undefined,
    lastServed: undefined,
    admission: undefined,
  };
}

const now = fc.constantFrom(...TIMES);
const token = fc.integer({ min: 0, max: 5 }).map(String);
const step = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), token, kid: fc.constantFrom('a', 'b') }),
  fc.record({ kind: fc.constant('get' as const), token, now }),
  fc.record({ kind: fc.constant('peek' as const), token, now }),
  fc.record({ kind: fc.constant('retain' as const), kid: fc.constantFrom('a', 'b') }),
);

// As long as they may be: what was used last shows when many have come since.
const steps = fc.array(step, { maxLength: 60, size: 'max' });

t.test('holds what was used last, and nothing else', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), steps, (max, steps) => {
      const cache = new VerifiedTokens(max);
      const model = new LRUCache<string, VerifiedToken>({ max });
      for (const one of steps) {
        if (one.kind === 'add') {
          const added = verified(one.token, one.kid);
          cache.add(added);
          model.set(one.token, added);
        } else if (one.kind === 'get' || one.kind === 'peek') {
          // One that has expired is let go of, but not one that is not valid yet.
          if (one.kind === 'get' && one.now >= 2_060_000) model.delete(one.token);
          const known = model[one.kind](one.token);
          if (cache[one.kind](one.token, one.now) !== (isValid(one.now) ? known : undefined)) {
            return false;
          }
        } else {
          const gone = [...model.values()].filter(({ kid }) => kid !== one.kid);
          for (const { token } of gone) model.delete(token);
          if (cache.retain(({ kid }) => kid === one.kid) !== gone.length) return false;
        }
        if (cache.size !== model.size) return false;
      }
      return true;
    }),
    { numRuns: 3_000 },
  );
});
