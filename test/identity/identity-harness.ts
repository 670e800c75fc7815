import { type Identified, Identity } from '../../src/identity/identity.ts';
import { KeyRing } from '../../src/identity/key-ring.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import type { ClaimExpectations, PodIdentity } from '../../src/tokens/claims.ts';
import { type Verdict, verifyToken } from '../../src/tokens/verify.ts';
import type { Verification } from '../../src/workers/verify-batches.ts';
import { ManualClock } from '../support/manual-clock.ts';
import {
  type Claims,
  EXPECTED,
  goodClaims,
  type SigningKey,
  signingKey,
  token,
} from '../tokens/signed-tokens.ts';
import { ScriptedSource } from './scripted-source.ts';

export const one = signingKey('ES256', 'one');
export const two = signingKey('ES256', 'two');
export const foreignOne = { ...signingKey('ES256'), kid: 'one' };
export const unpublished = signingKey('ES256', 'unpublished');

interface SetUp {
  readonly keys?: readonly SigningKey[];
  readonly most?: number;
  readonly expected?: ClaimExpectations;
}

/** Identity over a real key ring and the real verification, without the threads. */
export function setUp({ keys = [one], most = 100, expected = EXPECTED }: SetUp = {}) {
  const clock = Object.assign(new ManualClock(), { alternatives: [] as number[] });
  const source = new ScriptedSource('source');
  const publish = (...published: readonly SigningKey[]) => {
    source.keys = published.map((key) => key.jwk);
  };
  if (keys.length > 0) publish(...keys);
  const judged: string[] = [];
  const verified: Verification[] = [];
  const control: { beforeVerdict: (() => Promise<void>) | undefined } = {
    beforeVerdict: undefined,
  };
  const keyRing = new KeyRing({
    clock,
    log: silentLog,
    sourcesOf: () => [source],
    onChange: (isPublished) => identity.forgetUnpublished(isPublished),
    patience: 1_900,
    clusterName: 'test',
  });
  const identity: Identity = new Identity({
    clock,
    keyRing,
    expected,
    maxPodQps: 0,
    maxVerifiedTokens: most,
    workers: {
      verify: async (task): Promise<Verdict> => {
        verified.push(task);
        const verdict = await verifyToken(task.token, task.keys, task.expected, task.now);
        await control.beforeVerdict?.();
        return verdict;
      },
    },
    sessionKeyOf: (pod: PodIdentity, text) =>
      `${pod.namespace}/${pod.serviceAccount} ${text.length}`,
    onJudged: (result) => void judged.push(result),
  });
  /** A token of now, signed by `key`. */
  const minted = (key: SigningKey = one, claims: Claims = {}) =>
    token(goodClaims(claims, clock.now()), key);
  return { clock, source, publish, judged, verified, control, keyRing, identity, minted };
}

/** `verified`, `unverified: <cause>`, `refused: <reason>` or `unavailable: <reason>`. */
export function shown(who: Identified): string {
  if (who.kind === 'verified') return who.kind;
  return `${who.kind}: ${who.kind === 'unverified' ? who.cause : who.reason}`;
}
