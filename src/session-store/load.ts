import type { DurationMs, EpochMs } from '../clock.ts';
import { ENTRY_FIELDS, type Entries, type Entry, entryOf, type Rejection } from './entries.ts';
import type { Names } from './names.ts';
import type { RedisClient } from './redis-client.ts';
import type { RedisLink } from './redis-link.ts';
import type { KeptCredentials, RevokedBy, StoredSession } from './session-store.ts';

/** Entries read in one go: opening so many holds the main thread up for a few milliseconds. */
const AT_ONCE = 100;

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
 * Reads everything that this node has kept, in pipelines.
 *
 * @throws What the connection failed with.
 */
export async function loadEntries(options: LoadOptions): Promise<Loaded> {
  const { link, limit, names, entries, most, now } = options;
  const [sequence, time, ...lists] = await pipelined(link, limit, (pipeline) => {
    pipeline.get(names[0].sequence);
    pipeline.time();
    for (const { index } of names) {
      pipeline.zrevrangebyscore(index, '+inf', `(${now}`, 'LIMIT', 0, most);
    }
  });
  const found: FoundEntry[] = [];
  const rejected: { entry: Entry; reason: Rejection | 'flushed' }[] = [];
  const listed = [...new Set((lists as string[][]).flat())].slice(0, most);
  for (let from = 0; from < listed.length; from += AT_ONCE) {
    const some = listed.slice(from, from + AT_ONCE);
    const read = (await pipelined(link, limit, (pipeline) => {
      for (const name of some) pipeline.hmget(name, ...ENTRY_FIELDS);
    })) as (string | null)[][];
    for (const [index, name] of some.entries()) {
      const entry = entryOf(name, read[index] ?? []);
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
  const version = Math.max(Number(sequence ?? 0), inMicroseconds(time as string[]));
  return { version, found: valid, rejected };
}

/** What of the sessions that are held differs from what is kept. */
export interface Difference extends KeptSession {
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
  readonly sessions: readonly KeptSession[];
}): Promise<readonly Difference[]> {
  const flushed = await lastFlushes({ link, limit, names }, sessions);
  const differing: Difference[] = [];
  for (let from = 0; from < sessions.length; from += AT_ONCE) {
    const some = sessions.slice(from, from + AT_ONCE);
    const read = await pipelined(link, limit, (pipeline) => {
      for (const { session } of some) pipeline.hmget(names[0].entry(session), 't', 'r');
    });
    for (const [index, one] of some.entries()) {
      const [at, revokedBy] = read[index] as [string | null, RevokedBy | null];
      const keptAt = Number(at ?? 0);
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
    const read = await pipelined(link, limit, (pipeline) => {
      for (const name of some) pipeline.get(name);
    });
    for (const [index, name] of some.entries()) versions.set(name, Number(read[index] ?? 0));
  }
  return wanted.map((of) => Math.max(0, ...of.map((name) => versions.get(name) ?? 0)));
}

/** What `TIME` answers: seconds, and the microseconds of the one that goes on. */
function inMicroseconds([seconds = '0', microseconds = '0']: readonly string[]): number {
  return Number(seconds) * 1_000_000 + Number(microseconds);
}

type Pipeline = ReturnType<RedisClient['pipeline']>;

/** Sends commands in one go; the first that fails fails all. */
async function pipelined(
  link: RedisLink,
  limit: DurationMs,
  add: (pipeline: Pipeline) => void,
): Promise<unknown[]> {
  return await link.send('load', limit, async (client) => {
    const pipeline = client.pipeline();
    add(pipeline);
    const answers = (await pipeline.exec()) ?? [];
    return answers.map(([error, value]) => {
      if (error) throw error;
      return value;
    });
  });
}
