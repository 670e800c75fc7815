import type { DurationMs, EpochMs } from '../clock.ts';
import type { Entries, Entry, Rejection } from './entries.ts';
import type { Names } from './names.ts';
import {
  entriesScript,
  entryStatesScript,
  flushesScript,
  listScript,
  versionScript,
} from './reading-scripts.ts';
import type { RedisLink, Script } from './redis-link.ts';
import type { EntryState } from './replies.ts';
import type { HeldSession, KeptCredentials, RevokedBy, StoredSession } from './session-store.ts';

/** Entries read in one go: opening so many holds the main thread up for a few milliseconds. */
const AT_ONCE = 100;
/** Entries that are listed at most: more than a node has pods, and few megabytes of names. */
const MAX_LISTED = 20_000;

/** A session with what is kept of it. */
export interface KeptSession {
  readonly session: StoredSession;
  readonly kept: KeptCredentials;
}

/** What {@link loadEntries} needs. */
export interface LoadOptions {
  readonly link: RedisLink;
  /** The longest that each reading may take. */
  readonly limit: DurationMs;
  /** By the first key, then by the second. */
  readonly names: readonly [Names, ...Names[]];
  readonly entries: Entries;
  /** Entries that are loaded at most: those that live longest. */
  readonly most: number;
  readonly now: EpochMs;
}

/** An entry with what it says. */
export interface FoundEntry extends KeptSession {
  readonly entry: Entry;
}

/** What this node has kept. */
export interface Loaded {
  /** The latest version that was given out, or would be now. */
  readonly version: number;
  readonly found: readonly FoundEntry[];
  readonly rejected: readonly { readonly entry: Entry; readonly reason: Rejection | 'flushed' }[];
}

/**
 * Reads everything that this node has kept, many entries at once.
 *
 * @throws What the connection failed with.
 */
export async function loadEntries(options: LoadOptions): Promise<Loaded> {
  const { link, limit, names, entries, most, now } = options;
  const [first] = names;
  const read = <T>(script: Script<T>) => link.script('load', limit, script);
  const [version, ...lists] = await Promise.all([
    read(versionScript(first.sequence)),
    ...names.map(({ index, entryPrefix }) =>
      read(listScript(index, entryPrefix, now, Math.min(most, MAX_LISTED))),
    ),
  ]);
  const found: FoundEntry[] = [];
  const rejected: { entry: Entry; reason: Rejection | 'flushed' }[] = [];
  const listed = [...new Set(lists.flat())].slice(0, most);
  for (let from = 0; from < listed.length; from += AT_ONCE) {
    const some = listed.slice(from, from + AT_ONCE);
    for (const entry of await read(entriesScript(some))) {
      if (entry === undefined) continue;
      const opened = entries.open(entry);
      if (opened.ok) found.push({ entry, session: opened.session, kept: opened.kept });
      else rejected.push({ entry, reason: opened.reason });
    }
  }
  const flushed = await lastFlushes(options, found);
  const valid = found.filter(({ entry, kept }, index) => {
    if (kept.version >= (flushed[index] as number)) return true;
    rejected.push({ entry, reason: 'flushed' });
    return false;
  });
  return { version, found: valid, rejected };
}

/** What of the sessions that are held differs from what is kept. */
export interface Difference extends HeldSession {
  /** `missing`: nothing, or something older, is kept. */
  readonly is: 'flushed' | 'missing' | 'outdated' | RevokedBy;
}

/**
 * Compares what is held with what is kept.
 *
 * @throws What the connection failed with.
 */
export async function reconcile({
  link,
  limit,
  names,
  sessions,
}: Pick<LoadOptions, 'link' | 'limit' | 'names'> & {
  readonly sessions: readonly HeldSession[];
}): Promise<readonly Difference[]> {
  const flushed = await lastFlushes({ link, limit, names }, sessions);
  const differing: Difference[] = [];
  for (let from = 0; from < sessions.length; from += AT_ONCE) {
    const some = sessions.slice(from, from + AT_ONCE);
    const states = await link.script(
      'load',
      limit,
      entryStatesScript(some.map(({ session }) => names[0].entry(session))),
    );
    for (const [index, one] of some.entries()) {
      const { fetchedAt: keptAt, revokedBy } = states[index] as EntryState;
      const { fetchedAt, version } = one.kept;
      if (version < (flushed[from + index] as number)) differing.push({ ...one, is: 'flushed' });
      else if (revokedBy && keptAt >= fetchedAt) differing.push({ ...one, is: revokedBy });
      else if (keptAt < fetchedAt) differing.push({ ...one, is: 'missing' });
      else if (keptAt > fetchedAt) differing.push({ ...one, is: 'outdated' });
    }
  }
  return differing;
}

/** When each of these sessions was last flushed; 0: never. */
async function lastFlushes(
  { link, limit, names }: Pick<LoadOptions, 'link' | 'limit' | 'names'>,
  sessions: readonly KeptSession[],
): Promise<number[]> {
  const wanted = sessions.map(({ session }) => names.flatMap((each) => each.flushes(session)));
  const all = [...new Set(wanted.flat())];
  const versions = new Map<string, number>();
  for (let from = 0; from < all.length; from += AT_ONCE) {
    const some = all.slice(from, from + AT_ONCE);
    const read = await link.script('load', limit, flushesScript(some));
    for (const [index, name] of some.entries()) versions.set(name, read[index] as number);
  }
  return wanted.map((of) => Math.max(0, ...of.map((name) => versions.get(name) ?? 0)));
}
