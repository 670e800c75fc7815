import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';

/** Algorithms that the issuer can sign with: RS256 as on EKS, or ES256. */
export type SigningAlgorithm = 'RS256' | 'ES256';

/** A public key as published in a JWKS. */
export interface PublishedKey {
  kty: string;
  kid: string;
  use: 'sig';
  alg: SigningAlgorithm;
  [member: string]: unknown;
}

/** One of the issuer's keys, by which signatures are checked. */
export interface VerificationKey {
  /** 40 hex digits, as on EKS. */
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  readonly publicKey: KeyObject;
  readonly jwk: PublishedKey;
}

/** One of the issuer's keys, by which it signs. */
export interface IssuerKey extends VerificationKey {
  readonly privateKey: KeyObject;
}

/** Makes a key that belongs to nobody yet. */
export function generateIssuerKey(algorithm: SigningAlgorithm): IssuerKey {
  const { privateKey, publicKey } =
    algorithm === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const kid = createHash('sha1')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
  const { kty, ...members } = publicKey.export({ format: 'jwk' });
  const jwk: PublishedKey = { ...members, kty: kty as string, kid, use: 'sig', alg: algorithm };
  return { kid, algorithm, privateKey, publicKey, jwk };
}

/** Signs the first two parts of a JWT (RFC 7515 section 5.1); returns the third. */
export function signJWS(signingInput: string, key: IssuerKey): string {
  const signer =
    key.algorithm === 'RS256'
      ? key.privateKey
      : { key: key.privateKey, dsaEncoding: 'ieee-p1363' as const };
  return sign('sha256', Buffer.from(signingInput), signer).toString('base64url');
}

/** Whether a JWT's third part is this key's signature of the first two. */
export function verifyJWS(signingInput: string, signature: string, key: VerificationKey): boolean {
  const verifier =
    key.algorithm === 'RS256'
      ? key.publicKey
      : { key: key.publicKey, dsaEncoding: 'ieee-p1363' as const };
  return verify('sha256', Buffer.from(signingInput), verifier, Buffer.from(signature, 'base64url'));
}

/** The cluster's token signing keys: one signs, all that are not withdrawn are published. */
export class IssuerKeys {
  readonly #published = new Map<string, VerificationKey>();
  #current: IssuerKey;

  constructor(first: IssuerKey) {
    this.#current = first;
    this.#published.set(first.kid, first);
  }

  /** The key that signs new tokens, published or not. */
  get current(): IssuerKey {
    return this.#current;
  }

  /** The published key of this `kid`. */
  get(kid: string): VerificationKey | undefined {
    return this.#published.get(kid);
  }

  /**
   * Puts a new key in place. The old ones stay published, and tokens signed with them good.
   *
   * @param options.algorithm - Of the new key; the current key's by default.
   * @param options.publish - `false` signs with the new key before it is published, as a
   *   lagging JWKS cache would show it; {@link publish} makes up for it. Default true.
   * @returns The new key's `kid`.
   */
  rotate(
    options: { algorithm?: SigningAlgorithm | undefined; publish?: boolean | undefined } = {},
  ): string {
    const key = generateIssuerKey(options.algorithm ?? this.#current.algorithm);
    this.#current = key;
    if (options.publish !== false) this.#published.set(key.kid, key);
    return key.kid;
  }

  /**
   * Publishes keys of somebody else who signs tokens of this issuer: of a real API server, as
   * it answers them at `/openid/v1/jwks`.
   *
   * @throws TypeError where a key is none that an issuer signs with.
   */
  adopt({ keys }: { readonly keys: readonly Readonly<Record<string, unknown>>[] }): void {
    for (const { kid, alg, ...members } of keys) {
      if (typeof kid !== 'string') throw new TypeError('issuerKeys must have a kid each');
      if (alg !== 'RS256' && alg !== 'ES256') {
        throw new TypeError('issuerKeys must be for RS256 or ES256');
      }
      const publicKey = createPublicKey({ format: 'jwk', key: members });
      const jwk: PublishedKey = { ...members, kty: String(members.kty), kid, use: 'sig', alg };
      this.#published.set(kid, { kid, algorithm: alg, publicKey, jwk });
    }
  }

  /** Publishes the current key, if {@link rotate} has not. */
  publish(): void {
    this.#published.set(this.#current.kid, this.#current);
  }

  /**
   * Takes a key out of the JWKS; EKS Auth refuses its tokens from then on.
   *
   * @throws TypeError where no such key is published.
   */
  withdraw(kid: string): void {
    if (!this.#published.delete(kid)) throw new TypeError(`kid is not published: ${kid}`);
  }

  /** The key set as `<issuer>/keys` answers it, newest first. */
  jwks(): { keys: PublishedKey[] } {
    return { keys: [...this.#published.values()].reverse().map((key) => key.jwk) };
  }
}
