import type { JSONWebKeySet, JWK } from 'jose';

/** More keys than any issuer publishes; a set beyond it is not an issuer's. */
const MAX_KEYS = 64;

/** A source that gave no usable keys; `message` names the source and what was wrong. */
export class KeySourceError extends Error {
  override readonly name = 'KeySourceError';
  readonly code = 'ERR_KEY_SOURCE';
}

/** Members of a JWK that are public (RFC 7518, section 6; RFC 8037, section 2). */
const PUBLIC_MEMBERS = ['kty', 'kid', 'alg', 'use', 'n', 'e', 'crv', 'x', 'y'] as const;

/**
 * The public, asymmetric signing keys of a JWK Set (RFC 7517, section 5), and nothing else.
 *
 * @param name - Where the document came from, for the error.
 * @throws KeySourceError when it holds none.
 */
export function publicKeys(name: string, document: unknown): JSONWebKeySet {
  const listed = (document as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(listed)) throw new KeySourceError(`${name} answered without keys`);
  if (listed.length > MAX_KEYS) {
    throw new KeySourceError(`${name} answered more than ${MAX_KEYS} keys`);
  }
  const keys: JWK[] = [];
  for (const entry of listed as Record<string, unknown>[]) {
    if (typeof entry !== 'object' || entry === null) continue;
    if (typeof entry.kty !== 'string' || !['RSA', 'EC', 'OKP'].includes(entry.kty)) continue;
    if (entry.use !== undefined && entry.use !== 'sig') continue;
    const members = PUBLIC_MEMBERS.filter((member) => typeof entry[member] === 'string');
    keys.push(Object.fromEntries(members.map((member) => [member, entry[member]])) as JWK);
  }
  if (keys.length === 0) throw new KeySourceError(`${name} answered without a signing key`);
  return { keys };
}
