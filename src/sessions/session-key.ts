import { createHash } from 'node:crypto';
import type { SessionScope } from '../config/config.ts';
import type { PodScopeRule } from '../config/values.ts';
import type { PodIdentity } from '../tokens/claims.ts';

/** What decides which pods share a session. */
export interface ScopeRules {
  readonly sessionScope: SessionScope;
  /** The pods that have sessions of their own although the scope is `service-account`. */
  readonly podScope: readonly PodScopeRule[];
}

/** The scope of a verified pod's session. */
export function scopeOf(pod: PodIdentity, rules: ScopeRules): SessionScope {
  if (rules.sessionScope !== 'service-account') return rules.sessionScope;
  const ofItsOwn = rules.podScope.some(
    ({ namespace, serviceAccount }) =>
      namespace === pod.namespace &&
      (serviceAccount === undefined || serviceAccount === pod.serviceAccount),
  );
  return ofItsOwn ? 'pod' : 'service-account';
}

/**
 * The key of the session that a pod's token gives access to. The claims in a key contain neither
 * slash nor colon (see `readClaims`), so two sessions never have the same key.
 *
 * The cluster is the same for all sessions of a broker and not part of the key.
 */
export function sessionKey(pod: PodIdentity, token: string, scope: SessionScope): string {
  if (scope === 'token') return tokenSessionKey(token);
  const account = `${scope}:${pod.namespace}/${pod.serviceAccount}/${pod.serviceAccountUid}`;
  return scope === 'pod' ? `${account}/${pod.podUid}` : account;
}

/** The key of the session that belongs to one token alone: its SHA-256 digest. */
export function tokenSessionKey(token: string): string {
  return `token:${createHash('sha256').update(token).digest('base64url')}`;
}
