import { type Entry, entryOf, MAX_SEALED } from './entries.ts';
import type { RevokedBy } from './session-store.ts';

// What Redis answers comes from outside: whoever has taken it over, or writes to it, may have it
// answer anything. Each answer is read here, once, into what the rest relies on; whether an entry
// is genuine is for its seal to say.

/** An answer that is not of the form that was asked for; it is not repeated anywhere. */
export class MalformedReplyError extends Error {
  override readonly name = 'MalformedReplyError';
  readonly code = 'ERR_REDIS_MALFORMED_REPLY';

  /** @param what - What the answer should have been. */
  constructor(what: string) {
    super(`Redis did not answer with ${what}`);
  }
}

/**
 * Reads an answer.
 *
 * @throws MalformedReplyError
 */
export type ReadReply<T> = (reply: unknown) => T;

/** Longer than the name of any entry. */
export const MAX_NAME = 256;
/** As many as `String` makes of a number that is a version or a time. */
const MAX_DIGITS = 32;
const DECIMAL = /^\d{1,16}(\.\d+)?$/;
const INTEGER = /^\d{1,16}$/;

/** What Redis says of a session that is claimed. */
export type ClaimReply =
  | { readonly kind: 'entry'; readonly entry: Entry }
  | { readonly kind: 'lease'; readonly version: number }
  /** Another broker has the lease; `endsIn` is in milliseconds. */
  | { readonly kind: 'held'; readonly endsIn: number }
  | { readonly kind: 'none' };

/**
 * Reads the answer to a claim.
 *
 * @param names - The entries that may be meant: another session's is no answer, however genuine.
 * @param longestLease - In milliseconds.
 */
export function readClaimReply(
  names: readonly string[],
  longestLease: number,
): ReadReply<ClaimReply> {
  return (reply) => {
    const [kind, one, ...fields] = listOf(reply, 'a claim');
    switch (kind) {
      case 'entry': {
        const entry = typeof one === 'string' ? readEntry(one, fields) : undefined;
        if (entry === undefined || !names.includes(entry.name)) break;
        return { kind, entry };
      }
      case 'lease':
        return { kind, version: readVersion(one) };
      case 'held':
        if (typeof one !== 'number' || !(one >= 0 && one <= longestLease)) break;
        return { kind, endsIn: one };
      case 'none':
        return { kind };
    }
    throw new MalformedReplyError('a claim');
  };
}

/** Reads entries, of each its fields or nothing. */
export function readEntries(names: readonly string[]): ReadReply<readonly (Entry | undefined)[]> {
  return (reply) => {
    const all = listOf(reply, 'entries', names.length);
    return names.map((name, index) => readEntry(name, all[index]));
  };
}

/** Whether they are versions and times is for the seal to say: they are bound into it. */
function readEntry(name: string, reply: unknown): Entry | undefined {
  const fields = listOf(reply, 'an entry').map((field) => {
    if (field === null) return null;
    if (typeof field === 'string' && field.length <= MAX_SEALED) return field;
    throw new MalformedReplyError('an entry');
  });
  return entryOf(name, fields);
}

/** Where the entry of a session stands: when it was fetched, 0 for never, and why it was revoked. */
export interface EntryState {
  readonly fetchedAt: number;
  readonly revokedBy: RevokedBy | undefined;
}

/** Reads where so many entries stand. */
export function readEntryStates(count: number): ReadReply<readonly EntryState[]> {
  return (reply) =>
    listOf(reply, 'states', count).map((state) => {
      const [fetchedAt, revokedBy] = listOf(state, 'a state');
      if (revokedBy !== null && revokedBy !== 'refused' && revokedBy !== 'denied') {
        throw new MalformedReplyError('a state');
      }
      return {
        fetchedAt: fetchedAt === null ? 0 : readTime(fetchedAt),
        revokedBy: revokedBy ?? undefined,
      };
    });
}

/**
 * What keeping an entry came to: `flushed`: it must not be served; `older`: a newer one is there;
 * `refused`, `denied`: it was revoked.
 */
export type KeepResult = 'kept' | 'there' | 'older' | 'flushed' | RevokedBy;

const KEEP_RESULTS: ReadonlySet<unknown> = new Set<KeepResult>([
  'kept',
  'there',
  'older',
  'flushed',
  'refused',
  'denied',
]);

/** Reads {@link KeepResult}. */
export function readKeepResult(reply: unknown): KeepResult {
  if (!KEEP_RESULTS.has(reply)) throw new MalformedReplyError('what became of an entry');
  return reply as KeepResult;
}

/** Reads a version: a whole number that is exact. */
export function readVersion(reply: unknown): number {
  const version = typeof reply === 'string' && INTEGER.test(reply) ? Number(reply) : Number.NaN;
  if (!Number.isSafeInteger(version)) throw new MalformedReplyError('a version');
  return version;
}

/** Reads so many versions. */
export function readVersions(count: number): ReadReply<readonly number[]> {
  return (reply) => listOf(reply, 'versions', count).map(readVersion);
}

/** Reads a number of things; also what Redis says in place of yes and no. */
export function readCount(reply: unknown): number {
  if (typeof reply !== 'number' || !Number.isSafeInteger(reply) || reply < 0) {
    throw new MalformedReplyError('a count');
  }
  return reply;
}

/** Reads the names of entries, which begin with a prefix: nothing else is read on their account. */
export function readNames(prefix: string): ReadReply<readonly string[]> {
  return (reply) =>
    listOf(reply, 'names').map((name) => {
      if (typeof name === 'string' && name.length <= MAX_NAME && name.startsWith(prefix)) {
        return name;
      }
      throw new MalformedReplyError('names');
    });
}

/** Reads milliseconds since the epoch, which may have a fraction. */
function readTime(reply: unknown): number {
  const plain =
    typeof reply === 'string' && reply.length <= MAX_DIGITS && DECIMAL.test(reply)
      ? Number(reply)
      : Number.NaN;
  if (!(plain <= Number.MAX_SAFE_INTEGER)) throw new MalformedReplyError('a time');
  return plain;
}

/** @param count - How many it should have. Default is any number. */
function listOf(reply: unknown, what: string, count?: number): readonly unknown[] {
  if (Array.isArray(reply) && (count === undefined || reply.length === count)) return reply;
  throw new MalformedReplyError(what);
}
