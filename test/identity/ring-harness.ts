import type { JWK } from 'jose';
import { KeyRing } from '../../src/identity/key-ring.ts';
import { capturedLog } from '../support/captured-log.ts';
import { ManualClock } from '../support/manual-clock.ts';
import type { ScriptedSource } from './scripted-source.ts';

export const ISSUER = 'https://issuer.example';
export const PATIENCE = 1_900;

/** A key ring over sources that the test scripts. */
export function ring(...sources: readonly ScriptedSource[]) {
  const clock = new ManualClock();
  const { log, lines } = capturedLog();
  const changes: ((kid: string | undefined) => boolean)[] = [];
  const issuers: string[] = [];
  const keyRing = new KeyRing({
    clock,
    log,
    sourcesOf: (issuer) => {
      issuers.push(issuer);
      return sources;
    },
    onChange: (isPublished) => void changes.push(isPublished),
    patience: PATIENCE,
    clusterName: 'test',
  });
  const kids = () => keyRing.keys?.jwks.keys.map((key: JWK) => key.kid);
  return { clock, keyRing, lines, changes, issuers, kids };
}
