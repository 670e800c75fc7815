import { readTextFile } from '../read-file.ts';

/** Bytes of a key of AES-256. */
const KEY_BYTES = 32;
/** Larger than any file with two keys. */
const MAX_CHARACTERS = 1_024;

/** A file of keys that cannot be used; `message` says why, and quotes nothing of it. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError';
  readonly code = 'ERR_REDIS_KEY_FILE';
}

/**
 * Reads the keys that entries are sealed under: one, or two with white space or a line break
 * between them, each 32 random bytes in base64. Entries are sealed under the first and opened
 * under either, so that keys can be replaced one after the other. The file is read once, when
 * the broker starts: a new key takes effect with the next restart.
 *
 * @throws KeyFileError
 */
export async function readKeyFile(file: string): Promise<readonly Buffer[]> {
  const content = await readContent(file, '--redis-key-file');
  const words = content
    .slice(0, MAX_CHARACTERS)
    .split(/\s+/)
    .filter((word) => word !== '');
  if (content.length > MAX_CHARACTERS || words.length < 1 || words.length > 2) {
    throw new KeyFileError(`--redis-key-file ${file} must hold one key or two`);
  }
  const keys = words.map((word, index) => key(word, `${file}, key ${index + 1}`));
  if (keys[1] !== undefined && keys[0]?.equals(keys[1])) {
    throw new KeyFileError(`--redis-key-file ${file} holds the same key twice`);
  }
  return keys;
}

/**
 * Reads a file of one line, as passwords are kept in.
 *
 * @param flag - Names it, in errors.
 * @throws KeyFileError
 */
export async function readSecretFile(file: string, flag: string): Promise<string> {
  const content = (await readContent(file, flag)).replace(/\r?\n$/, '');
  if (content === '') throw new KeyFileError(`${flag} ${file} is empty`);
  return content;
}

/**
 * Reads a text file.
 *
 * @param flag - Names it, in errors.
 * @throws KeyFileError
 */
export async function readContent(file: string, flag: string): Promise<string> {
  try {
    return await readTextFile(file);
  } catch (error) {
    throw new KeyFileError(`${flag} cannot be read: ${(error as Error).message}`);
  }
}

function key(word: string, which: string): Buffer {
  const decoded = Buffer.from(word, 'base64');
  const canonical = decoded.toString('base64');
  // Node's decoder passes over what is not base64.
  if (canonical !== word && canonical.replace(/=+$/, '') !== word) {
    throw new KeyFileError(`--redis-key-file ${which}: not base64`);
  }
  if (decoded.length !== KEY_BYTES) {
    throw new KeyFileError(`--redis-key-file ${which}: must be ${KEY_BYTES} bytes in base64`);
  }
  if (decoded.every((byte) => byte === decoded[0])) {
    throw new KeyFileError(`--redis-key-file ${which}: not random`);
  }
  return decoded;
}
