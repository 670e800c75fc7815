import type { DurationMs, EpochMs } from '../clock.ts';
import { ENTRY_FIELDS, type Entry, MOST_SEALED } from './entries.ts';
import type { Script } from './redis-link.ts';
import {
  type EntryState,
  type Found,
  type KeepResult,
  MOST_NAME,
  readCount,
  readEntries,
  readEntryStates,
  readFound,
  readKeepResult,
  readNames,
  readVersion,
  readVersions,
} from './replies.ts';
import type { RevokedBy } from './session-store.ts';

// The few steps that have to be one, as scripts. An entry is a hash of `g` (version), `t`
// (fetched at), `e` (expires at) and `v` (sealed). One that was revoked leaves `t` and `r` (why)
// behind until its credentials expire: whoever still holds what was fetched by then must not put
// it back. Versions are microseconds by the clock of Redis, but never the same or an earlier one
// twice: whatever happens to that clock, a flush is later than all that began before it.
//
// What somebody else has written in the place of any of these (another type, no number, a time
// that cannot be, megabytes) is done away with as it is met: it must not hold anything up for
// longer than that.
//
// Announcements are not what a script is for: where the ACL forbids them, the rest is done.

/** Flushes and the sequence are remembered for two days: longer than any credentials live. */
const REMEMBERED: DurationMs = 2 * 24 * 60 * 60_000;
/** By how much a time or a version may be later than Redis' own clock says it is, in microseconds. */
const MOST_AHEAD = 24 * 60 * 60_000_000;
/** Longer than any version or time. */
const MOST_DIGITS = 64;

const HELPERS = `
local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function text(key)
  local length = redis.pcall('STRLEN', key)
  if type(length) == 'table' or length > ${MOST_DIGITS} then return 'no number' end
  return redis.call('GET', key) or '0'
end
local function remember(key, version)
  local digits = string.format('%.0f', version)
  redis.call('SET', key, digits, 'PX', ${REMEMBERED})
  return digits
end
local function advance(key)
  local version = microseconds()
  local before = tonumber(text(key))
  if before and before >= version and before <= version + ${MOST_AHEAD} then
    version = before + 1
  end
  return remember(key, version)
end
-- Rather flush once too often than not at all.
local function flushed_at(key)
  local at, now = tonumber(text(key)), microseconds()
  if at and at >= 0 and at <= now + ${MOST_AHEAD} then return at end
  remember(key, now)
  return now
end
local function latest(from, to)
  local found = 0
  for i = from, to do
    local at = flushed_at(KEYS[i])
    if at > found then found = at end
  end
  return found
end
local function fields(key, ...)
  for _, field in ipairs({...}) do
    local length = redis.pcall('HSTRLEN', key, field)
    if type(length) == 'table' or length > (field == 'v' and ${MOST_SEALED} or ${MOST_DIGITS}) then
      redis.call('DEL', key)
      return {}
    end
  end
  return redis.call('HMGET', key, ...)
end
-- When an entry was fetched, in milliseconds; nil where there is none.
local function fetched_at(found, key, index)
  if not found[index] then return nil end
  local at = tonumber(found[index])
  if at and at >= 0 and at * 1000 <= microseconds() + ${MOST_AHEAD} then return at end
  redis.call('DEL', key)
  return nil
end
local function mend_index(key)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', key) end
end
local function add_to_index(key, name, expires, now)
  mend_index(key)
  redis.call('ZADD', key, expires, name)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. now)
  redis.call('PEXPIRE', key, ${REMEMBERED})
end
`;

const FIELDS = ENTRY_FIELDS.map((field) => `'${field}'`).join(', ');

const CLAIM = `${HELPERS}
local entries = tonumber(ARGV[1])
local flushed = latest(entries + 3, #KEYS)
for i = 3, entries + 2 do
  local found = fields(KEYS[i], ${FIELDS})
  if found[4] then
    local version, expires = tonumber(found[1] or ''), tonumber(found[3] or '')
    local fetched = fetched_at(found, KEYS[i], 2)
    if not (version and fetched and expires and version >= flushed) then
      redis.call('DEL', KEYS[i])
    elseif fetched > tonumber(ARGV[2]) and expires > tonumber(ARGV[3]) then
      return {'entry', KEYS[i], found[1], found[2], found[3], found[4]}
    end
  end
end
local lease = tonumber(ARGV[4])
if lease == 0 then return {'none'} end
local holder = tonumber(text(KEYS[1]))
if holder and holder > flushed then
  local left = redis.call('PTTL', KEYS[1])
  -- One that would never end is nobody's.
  if left >= 0 and left <= lease then return {'held', left} end
end
local version = advance(KEYS[2])
redis.call('SET', KEYS[1], version, 'PX', lease)
return {'lease', version}
`;

/** What the claim of a session looks at. */
export interface ClaimKeys {
  readonly lease: string;
  readonly sequence: string;
  /** Under each key of the file. */
  readonly entries: readonly string[];
  readonly flushes: readonly string[];
}

/**
 * Finds what is kept of a session, or takes the lease to fetch it.
 *
 * @param newerThan - What was fetched by then is no help.
 * @param goodUntil - What expires by then neither.
 * @param lease - How long the lease is; 0: it is not asked for.
 */
export function claimScript(
  { lease: leaseKey, sequence, entries, flushes }: ClaimKeys,
  newerThan: EpochMs,
  goodUntil: EpochMs,
  lease: DurationMs,
): Script<Found> {
  return {
    text: CLAIM,
    keys: [leaseKey, sequence, ...entries, ...flushes],
    args: [entries.length, newerThan, goodUntil, lease],
    read: readFound(entries, lease),
  };
}

const RENEW = `
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`;

/** Makes a lease last longer, if it is still this one. */
export function renewScript(lease: string, version: number, lasts: DurationMs): Script<number> {
  return { text: RENEW, keys: [lease], args: [version, lasts], read: readCount };
}

const RELEASE = `
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.pcall('PUBLISH', ARGV[2], ARGV[3])
return 1
`;

/** Gives a lease up, if it is still this one, and tells who waits for it. */
export function releaseScript(
  lease: string,
  version: number,
  channel: string,
  message: string,
): Script<number> {
  return { text: RELEASE, keys: [lease], args: [version, channel, message], read: readCount };
}

const KEEP = `${HELPERS}
local entry, lease, index = KEYS[1], KEYS[2], KEYS[3]
local function release()
  if redis.pcall('GET', lease) == ARGV[1] then redis.call('DEL', lease) end
end
local function give_up()
  release()
  if ARGV[8] ~= '' then redis.pcall('PUBLISH', ARGV[6], ARGV[8]) end
end
if latest(4, #KEYS) > tonumber(ARGV[1]) then
  give_up()
  return 'flushed'
end
local before = fields(entry, 't', 'v', 'r')
local fetched = fetched_at(before, entry, 1)
if fetched and fetched >= tonumber(ARGV[2]) then
  if not before[2] then
    give_up()
    return before[3] == 'denied' and 'denied' or 'refused'
  end
  release()
  return fetched == tonumber(ARGV[2]) and 'there' or 'older'
end
redis.call('HSET', entry, 'g', ARGV[1], 't', ARGV[2], 'e', ARGV[3], 'v', ARGV[4])
redis.call('HDEL', entry, 'r')
redis.call('PEXPIRE', entry, ARGV[5])
add_to_index(index, entry, ARGV[3], ARGV[9])
release()
if ARGV[7] ~= '' then redis.pcall('PUBLISH', ARGV[6], ARGV[7]) end
return 'kept'
`;

/** What keeping an entry works on. */
export interface KeepKeys {
  readonly lease: string;
  readonly index: string;
  readonly flushes: readonly string[];
}

/** What is said of it, and where; nothing where a text is empty. */
export interface KeepNews {
  readonly channel: string;
  /** Once it is kept. */
  readonly kept: string;
  /** When it is not kept, for those who wait. */
  readonly released: string;
}

/**
 * Keeps an entry unless there is a newer one or it was flushed or revoked, and ends the lease
 * on it.
 */
export function keepScript(
  entry: Entry,
  { lease, index, flushes }: KeepKeys,
  news: KeepNews,
  now: EpochMs,
): Script<KeepResult> {
  const { name, version, fetchedAt, expiresAt, sealed } = entry;
  return {
    text: KEEP,
    keys: [name, lease, index, ...flushes],
    args: [
      ...[version, fetchedAt, expiresAt, sealed, lifeOf(Number(expiresAt), now)],
      ...[news.channel, news.kept, news.released, Math.floor(now)],
    ],
    read: readKeepResult,
  };
}

const REVOKE = `${HELPERS}
local before = fields(KEYS[1], 't', 'r')
local fetched = fetched_at(before, KEYS[1], 1)
if fetched and fetched > tonumber(ARGV[1]) then return 0 end
if fetched == tonumber(ARGV[1]) and before[2] == 'refused' then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 't', ARGV[1], 'r', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.pcall('ZREM', KEYS[2], KEYS[1])
return 1
`;

/**
 * Deletes an entry, unless it is newer than what is revoked, and leaves a mark in its place until
 * the credentials that are revoked expire.
 */
export function revokeScript(
  entry: string,
  index: string,
  revoked: { readonly fetchedAt: EpochMs; readonly expiresAt: EpochMs; readonly by: RevokedBy },
  now: EpochMs,
): Script<number> {
  const { fetchedAt, expiresAt, by } = revoked;
  return {
    text: REVOKE,
    keys: [entry, index],
    args: [fetchedAt, by, lifeOf(expiresAt, now)],
    read: readCount,
  };
}

const DISCARD = `
if redis.pcall('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`;

/** Deletes an entry that is of no use, and not what has taken its place meanwhile. */
export function discardScript({ name, sealed }: Pick<Entry, 'name' | 'sealed'>): Script<number> {
  return { text: DISCARD, keys: [name], args: [sealed], read: readCount };
}

const FLUSH = `${HELPERS}
local version = advance(KEYS[1])
for i = 2, #KEYS do redis.call('SET', KEYS[i], version, 'PX', ${REMEMBERED}) end
return version
`;

/** Makes everything that began before of no use. */
export function flushScript(sequence: string, flushes: readonly string[]): Script<number> {
  return { text: FLUSH, keys: [sequence, ...flushes], args: [], read: readVersion };
}

const INDEX = `${HELPERS}
add_to_index(KEYS[1], ARGV[2], ARGV[1], ARGV[3])
return 1
`;

/** Has an entry found again that this node holds. */
export function indexScript(
  index: string,
  { name, expiresAt }: Entry,
  now: EpochMs,
): Script<number> {
  return {
    text: INDEX,
    keys: [index],
    args: [expiresAt, name, Math.floor(now)],
    read: readCount,
  };
}

const LIST = `${HELPERS}
mend_index(KEYS[1])
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
local names = {}
for _, name in ipairs(found) do
  if #name <= ${MOST_NAME} and string.sub(name, 1, #ARGV[3]) == ARGV[3] then
    names[#names + 1] = name
  else
    redis.call('ZREM', KEYS[1], name)
  end
end
return names
`;

/**
 * Lists the entries that this node holds and that have not expired: those that live longest.
 *
 * @param prefix - What the names of entries begin with.
 */
export function listScript(
  index: string,
  prefix: string,
  now: EpochMs,
  most: number,
): Script<readonly string[]> {
  return { text: LIST, keys: [index], args: [now, most, prefix], read: readNames(prefix) };
}

const READ_ENTRIES = `${HELPERS}
local all = {}
for i, key in ipairs(KEYS) do
  local found = fields(key, ${FIELDS})
  all[i] = {found[1] or false, found[2] or false, found[3] or false, found[4] or false}
end
return all
`;

/** Reads entries, each of them or nothing. */
export function entriesScript(names: readonly string[]): Script<readonly (Entry | undefined)[]> {
  return { text: READ_ENTRIES, keys: names, args: [], read: readEntries(names) };
}

const READ_STATES = `${HELPERS}
local all = {}
for i, key in ipairs(KEYS) do
  local found = fields(key, 't', 'r')
  if not fetched_at(found, key, 1) then found = {} end
  local by = found[2] and (found[2] == 'denied' and 'denied' or 'refused')
  all[i] = {found[1] or false, by or false}
end
return all
`;

/** Reads where entries stand. */
export function entryStatesScript(names: readonly string[]): Script<readonly EntryState[]> {
  return { text: READ_STATES, keys: names, args: [], read: readEntryStates(names.length) };
}

const READ_FLUSHES = `${HELPERS}
local all = {}
for i, key in ipairs(KEYS) do all[i] = string.format('%.0f', flushed_at(key)) end
return all
`;

/** Reads when sessions were last flushed; 0: never. */
export function flushesScript(flushes: readonly string[]): Script<readonly number[]> {
  return { text: READ_FLUSHES, keys: flushes, args: [], read: readVersions(flushes.length) };
}

const READ_VERSION = `${HELPERS}
local now = microseconds()
local given = tonumber(text(KEYS[1]))
if given and given > now and given <= now + ${MOST_AHEAD} then now = given end
return string.format('%.0f', now)
`;

/** Reads the latest version that was given out, or would be now. */
export function versionScript(sequence: string): Script<number> {
  return { text: READ_VERSION, keys: [sequence], args: [], read: readVersion };
}

/** How long something is kept whose credentials expire then; Redis takes whole milliseconds. */
function lifeOf(expiresAt: EpochMs, now: EpochMs): DurationMs {
  return Math.max(1, Math.floor(expiresAt - now));
}
