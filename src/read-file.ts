import { open } from 'node:fs/promises';
import { type Clock, type DurationMs, systemClock } from './clock.ts';

/** How long a file may take to be read. */
export const READ_TIMEOUT: DurationMs = 2_000;
/** Larger than any file of keys, certificates or credentials. */
const MAX_BYTES = 1_024 * 1_024;

/**
 * Files that are used at once. A thread that uses a file on a volume that hangs does not come back,
 * and libuv has four of them for all files and for looking names up: two are left for names.
 */
const MAX_AT_ONCE = 2;

let inUse = 0;
const waiting: (() => void)[] = [];
const reading = new Map<string, Promise<string>>();

/** Input of {@link readTextFile}. */
export interface ReadOptions {
  /** What the time is measured by. Default is the real time. */
  readonly clock?: Clock | undefined;
  /** How long it may take. Default is {@link READ_TIMEOUT}. */
  readonly timeout?: DurationMs | undefined;
  /** The largest size, in bytes. Default is 1 MiB. */
  readonly maxBytes?: number | undefined;
}

/** A file that takes too long to read, or is too large; `message` does not name it. */
export class FileReadError extends Error {
  override readonly name = 'FileReadError';
  readonly code = 'ERR_FILE_READ';
}

/**
 * Reads a file that may be on a volume that hangs, or have no end. There is one read of a file at a
 * time, however often it is asked for: later calls get what that one brings.
 *
 * @param path - Whoever reads a file always reads it with the same `maxBytes`.
 * @returns Its content as UTF-8.
 * @throws FileReadError, or what the system says (`ENOENT`).
 */
export async function readTextFile(path: string, options: ReadOptions = {}): Promise<string> {
  const { clock = systemClock, timeout = READ_TIMEOUT, maxBytes = MAX_BYTES } = options;
  const late = Promise.withResolvers<never>();
  const timer = clock.setTimeout(
    () => late.reject(new FileReadError(`not within ${timeout} ms`)),
    timeout,
  );
  try {
    return await Promise.race([readOnce(path, maxBytes), late.promise]);
  } finally {
    clock.clearTimeout(timer);
  }
}

/**
 * Uses a file when its turn has come: two are used at once, in all of the process.
 *
 * @param use - What is done with it. If it never ends, its turn does not either.
 */
export async function useFile<T>(use: () => Promise<T>): Promise<T> {
  if (inUse < MAX_AT_ONCE) inUse += 1;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  try {
    return await use();
  } finally {
    const next = waiting.shift();
    if (next === undefined) inUse -= 1;
    else next();
  }
}

function readOnce(path: string, maxBytes: number): Promise<string> {
  let read = reading.get(path);
  if (read === undefined) {
    read = useFile(() => readBounded(path, maxBytes)).finally(() => reading.delete(path));
    reading.set(path, read);
  }
  return read;
}

async function readBounded(path: string, maxBytes: number): Promise<string> {
  const file = await open(path, 'r');
  try {
    // Not by its size: a file of the kernel's says 0, and a device has no end.
    const pieces: Buffer[] = [];
    for (let size = 0; size <= maxBytes; ) {
      const piece = Buffer.alloc(Math.min(PIECE, maxBytes + 1 - size));
      const { bytesRead } = await file.read(piece, 0, piece.length, null);
      if (bytesRead === 0) return Buffer.concat(pieces).toString('utf8');
      pieces.push(piece.subarray(0, bytesRead));
      size += bytesRead;
    }
  } finally {
    await file.close();
  }
  throw new FileReadError(`more than ${maxBytes / 1_024} KiB`);
}

const PIECE = 16 * 1_024;
