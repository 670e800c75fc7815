import { randomUUID } from 'node:crypto';
import { chmod, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { JSONWebKeySet } from 'jose';
import type { EpochMs } from '../clock.ts';
import { makeFolder } from '../make-folder.ts';
import { useFile } from '../read-file.ts';
import { publicKeys } from './public-keys.ts';

/** What is kept of an issuer over a restart. Public keys only, but they decide who is believed. */
export interface CachedKeys {
  readonly clusterName: string;
  readonly issuer: string;
  readonly jwks: JSONWebKeySet;
  /** When a source last confirmed these keys. */
  readonly confirmedAt: EpochMs;
}

/** A cache file that is not used; `message` says why. */
export class KeyCacheError extends Error {
  override readonly name = 'KeyCacheError';
  readonly code = 'ERR_KEY_CACHE';
}

/** Larger than any key set with its envelope. */
const MAX_BYTES = 512 * 1024;

/**
 * The issuer's keys in a file, for restarts while their source is away. Whoever can write the
 * file decides whose tokens are believed, so it is read only if it and its folder belong to
 * this user and nobody else may use them.
 */
export class KeyCache {
  readonly #file: string;

  /** @param file - Path of the file; its folder is made when it is missing. */
  constructor(file: string) {
    this.#file = file;
  }

  /**
   * Reads what was kept for a cluster.
   *
   * @returns Undefined when nothing was kept.
   * @throws KeyCacheError when there is something that must not be used.
   */
  async read(clusterName: string): Promise<CachedKeys | undefined> {
    let content: string;
    try {
      content = await useFile(() => this.#readOwn());
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      if (error instanceof KeyCacheError) throw error;
      throw new KeyCacheError(`${this.#file} cannot be read: ${(error as Error).message}`);
    }
    const kept = parse(this.#file, content);
    return kept.clusterName === clusterName ? kept : undefined;
  }

  async #readOwn(): Promise<string> {
    await requireOwn(dirname(this.#file), 0o700, 'folder');
    const file = await open(this.#file, 'r');
    try {
      const { size, uid, mode } = await file.stat();
      requireMode(this.#file, uid, mode, 0o600, 'file');
      if (size > MAX_BYTES) throw new KeyCacheError(`${this.#file} is too large`);
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  }

  /** Replaces what is kept, in one step. */
  write(kept: CachedKeys): Promise<void> {
    return useFile(() => this.#replace(kept));
  }

  async #replace(kept: CachedKeys): Promise<void> {
    const folder = dirname(this.#file);
    await makeFolder(folder);
    await requireOwn(folder, 0o700, 'folder');
    const next = `${this.#file}.${randomUUID()}`;
    try {
      await writeFile(next, JSON.stringify(kept), { mode: 0o600, flag: 'wx' });
      await chmod(next, 0o600);
      await rename(next, this.#file);
    } catch (error) {
      await rm(next, { force: true });
      throw error;
    }
  }
}

function parse(file: string, content: string): CachedKeys {
  let kept: Partial<Record<keyof CachedKeys, unknown>>;
  try {
    kept = JSON.parse(content);
  } catch {
    throw new KeyCacheError(`${file} is not JSON`);
  }
  const { clusterName, issuer, confirmedAt } = kept ?? {};
  if (
    typeof clusterName !== 'string' ||
    typeof issuer !== 'string' ||
    typeof confirmedAt !== 'number'
  ) {
    throw new KeyCacheError(`${file} is not a key cache`);
  }
  return { clusterName, issuer, confirmedAt, jwks: publicKeys(file, kept.jwks) };
}

async function requireOwn(path: string, mode: number, what: string): Promise<void> {
  const found = await stat(path);
  requireMode(path, found.uid, found.mode, mode, what);
}

function requireMode(path: string, uid: number, mode: number, most: number, what: string): void {
  if (uid !== process.getuid?.()) throw new KeyCacheError(`the ${what} ${path} is not this user's`);
  if ((mode & 0o777 & ~most) !== 0) {
    throw new KeyCacheError(
      `the ${what} ${path} is open to others (mode ${(mode & 0o777).toString(8)})`,
    );
  }
}
