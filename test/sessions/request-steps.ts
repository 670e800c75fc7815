import fc from 'fast-check';
import type { MintedPod } from '../support/requests-harness.ts';
import { HOUR } from '../support/sessions-harness.ts';

const MINUTE = 60_000;

/** The second is the first's successor: deleted, and made anew under its name. */
export const ACCOUNTS = [
  { namespace: 'shop', serviceAccount: 'cart', serviceAccountUid: 'cart-1' },
  { namespace: 'shop', serviceAccount: 'cart', serviceAccountUid: 'cart-2' },
  { namespace: 'shop', serviceAccount: 'search', serviceAccountUid: 'search-1' },
  { namespace: 'bank', serviceAccount: 'cart', serviceAccountUid: 'bank-1' },
] as const;
export const PODS: readonly MintedPod[] = ACCOUNTS.flatMap((account, index) =>
  [0, 1].map((n) => ({ ...account, pod: `pod-${n}`, podUid: `pod-${index}-${n}` })),
);
export const ADDRESSES = ['10.0.0.1', '10.0.0.2', 'fd00::7'];

/** Something that happens behind the listener. Times are in milliseconds. */
export type Step =
  | { do: 'ask'; pod: number; as: 'genuine' | 'forged' | 'alien'; address: number }
  | { do: 'verdict'; which: number }
  | {
      do: 'answer';
      which: number;
      how: 'grant' | 'throttled' | 'service' | 'refused' | 'token' | 'network';
    }
  | { do: 'pass'; ms: number }
  | { do: 'pass-to-end'; left: number }
  | { do: 'jump'; ms: number }
  | { do: 'flush'; account: number }
  | { do: 'rotate-token'; pod: number }
  | { do: 'pod-gone'; pod: number }
  | { do: 'keys'; what: 'appear' | 'away' | 'hang' | 'answer' | 'rotate' | 'withdraw' };

export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      pod: fc.nat({ max: PODS.length - 1 }),
      as: fc.constantFrom('genuine' as const, 'genuine', 'genuine', 'forged', 'alien'),
      address: fc.nat({ max: ADDRESSES.length - 1 }),
    }),
  },
  {
    weight: 7,
    arbitrary: fc.record({ do: fc.constant('verdict' as const), which: fc.nat({ max: 7 }) }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      which: fc.oneof(fc.nat({ max: 2 }), fc.nat({ max: 9 })),
      how: fc.constantFrom(
        ...(['grant', 'grant', 'grant', 'throttled', 'service', 'refused', 'token'] as const),
        'network' as const,
      ),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.constantFrom(1, 10, 500, 1_100, 1_900, 7_000, 31_000, 4 * MINUTE, 12 * MINUTE),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('pass-to-end' as const),
      left: fc.constantFrom(1, 14_999, 15_000, 15_001),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('jump' as const),
      ms: fc.constantFrom(-12 * MINUTE, -2_000, 5_000, 12 * MINUTE, 7 * HOUR),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('flush' as const),
      account: fc.nat({ max: ACCOUNTS.length - 1 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constantFrom('rotate-token' as const, 'pod-gone' as const),
      pod: fc.nat({ max: PODS.length - 1 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('keys' as const),
      what: fc.constantFrom('appear' as const, 'away', 'hang', 'answer', 'rotate', 'withdraw'),
    }),
  },
);

/** What a run begins with. */
export const setUp = fc.record({
  // What is shared most can go wrong most.
  sessionScope: fc.constantFrom(
    ...(['service-account', 'service-account', 'service-account', 'pod', 'token'] as const),
  ),
  podScope: fc.subarray([
    { namespace: 'bank', serviceAccount: undefined },
    { namespace: 'shop', serviceAccount: 'search' },
  ]),
  maxCacheSize: fc.constantFrom(0, 1, 2, 100, 100, 100, 100),
  /** The issuer is named by the operator; otherwise it is learned from EKS Auth. */
  issuerKnown: fc.boolean(),
  keysAtStart: fc.constantFrom(true, false, false),
  /** Verdicts come when a step says so, in any order. */
  heldVerdicts: fc.constantFrom(true, false, false),
});
export type SetUp = typeof setUp extends fc.Arbitrary<infer T> ? T : never;
