import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/** Form of what is sealed; another one does not open. */
const VERSION = 1;
const ALGORITHM = 'aes-256-gcm';
/** Sizes for GCM of NIST SP 800-38D: a nonce of 96 bits, a tag of 128. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const ID_BYTES = 4;
const HEADER_BYTES = 1 + ID_BYTES;
const OVERHEAD = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

interface SealingKey {
  /** Tells keys apart; says nothing about them. */
  readonly id: Buffer;
  readonly key: Buffer;
}

/** Derives a key for one purpose from one of the file's (HKDF with SHA-256, RFC 5869). */
export function derive(key: Buffer, purpose: string, bytes = 32): Buffer {
  return Buffer.from(hkdfSync('sha256', key, '', `pod-identity-broker/${purpose}/v1`, bytes));
}

/**
 * Seals text with AES-256-GCM, bound to its context: whoever lacks the key can neither read
 * nor alter it, and what was sealed in one context opens in no other.
 *
 * Nonces are random: good for 2^32 entries under one key, which no fleet comes near.
 */
export class Sealer {
  readonly #keys: readonly SealingKey[];

  /** @param keys - Seals under the first; opens under each. */
  constructor(keys: readonly Buffer[]) {
    this.#keys = keys.map((key) => ({
      id: derive(key, 'id', ID_BYTES),
      key: derive(key, 'seal'),
    }));
  }

  /**
   * @param context - Everything that has to be the same when it is opened.
   * @returns Base64url of version, key id, nonce, tag and ciphertext.
   */
  seal(text: string, context: readonly unknown[]): string {
    const { id, key } = this.#keys[0] as SealingKey;
    const header = Buffer.concat([Buffer.of(VERSION), id]);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(associated(header, context));
    const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    return Buffer.concat([header, nonce, cipher.getAuthTag(), sealed]).toString('base64url');
  }

  /** @returns Undefined when it does not open: altered, of another context, or of an unknown key. */
  open(sealed: string, context: readonly unknown[]): string | undefined {
    const bytes = Buffer.from(sealed, 'base64url');
    if (bytes.length < OVERHEAD || bytes[0] !== VERSION) return undefined;
    const header = bytes.subarray(0, HEADER_BYTES);
    const found = this.#keys.find(({ id }) => id.equals(header.subarray(1)));
    if (found === undefined) return undefined;
    const nonce = bytes.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
    try {
      const decipher = createDecipheriv(ALGORITHM, found.key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(associated(header, context));
      decipher.setAuthTag(bytes.subarray(HEADER_BYTES + NONCE_BYTES, OVERHEAD));
      return decipher.update(bytes.subarray(OVERHEAD), undefined, 'utf8') + decipher.final('utf8');
    } catch {
      return undefined;
    }
  }
}

function associated(header: Buffer, context: readonly unknown[]): Buffer {
  return Buffer.concat([header, Buffer.from(JSON.stringify(context))]);
}
