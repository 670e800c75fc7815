import type { DurationMs, EpochMs } from '../clock.ts';
import { ENTRY_FIELDS, type Entry } from './entries.ts';
import type { Script } from './redis-link.ts';
import type { RevokedBy } from './session-store.ts';

// The few steps that have to be one, as scripts. An entry is a hash of `g` (version), `t`
// (fetched at), `e` (expires at) and `v` (sealed). One that was revoked leaves `t` and `r` (why)
// behind until its credentials expire: whoever still holds what was fetched by then must not put
// it back. Versions are microseconds by the clock of Redis, but never the same or an earlier one
// twice: whatever happens to that clock, a flush is later than all that began before it.
//
// Announcements are not what a script is for: where the ACL forbids them, the rest is done.

/** Flushes and the sequence are remembered for two days: longer than any credentials live. */
const REMEMBERED: DurationMs = 2 * 24 * 60 * 60_000;

const HELPERS = `
local function latest(from, to)
  local found = 0
  for i = from, to do
    local at = tonumber(redis.call('GET', KEYS[i]) or '0')
    if at > found then found = at end
  end
  return found
end
local function advance(key)
  local time = redis.call('TIME')
  local version = time[1] * 1000000 + time[2]
  local before = tonumber(redis.call('GET', key) or '0')
  if version <= before then version = before + 1 end
  local text = string.format('%.0f', version)
  redis.call('SET', key, text, 'PX', ${REMEMBERED})
  return text
end
`;

const FIELDS = ENTRY_FIELDS.map((field) => `'${field}'`).join(', ');

const CLAIM = `${HELPERS}
local entries = tonumber(ARGV[1])
local flushed = latest(entries + 3, #KEYS)
for i = 3, entries + 2 do
  local found = redis.call('HMGET', KEYS[i], ${FIELDS})
  if found[4] then
    if tonumber(found[1]) < flushed then
      redis.call('DEL', KEYS[i])
    elseif tonumber(found[2]) > tonumber(ARGV[2]) and tonumber(found[3]) > tonumber(ARGV[3]) then
      return {'entry', KEYS[i], found[1], found[2], found[3], found[4]}
    end
  end
end
local lease = tonumber(ARGV[4])
if lease == 0 then return {'none'} end
local holder = redis.call('GET', KEYS[1])
if holder and tonumber(holder) > flushed then
  return {'held', redis.call('PTTL', KEYS[1])}
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
): Script {
  return {
    text: CLAIM,
    keys: [leaseKey, sequence, ...entries, ...flushes],
    args: [entries.length, newerThan, goodUntil, lease],
  };
}

const RENEW = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`;

/** Makes a lease last longer, if it is still this one. */
export function renewScript(lease: string, version: number, lasts: DurationMs): Script {
  return { text: RENEW, keys: [lease], args: [version, lasts] };
}

const RELEASE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
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
): Script {
  return { text: RELEASE, keys: [lease], args: [version, channel, message] };
}

const KEEP = `${HELPERS}
local entry, lease, index = KEYS[1], KEYS[2], KEYS[3]
local function release()
  if redis.call('GET', lease) == ARGV[1] then redis.call('DEL', lease) end
end
local function give_up()
  release()
  if ARGV[8] ~= '' then redis.pcall('PUBLISH', ARGV[6], ARGV[8]) end
end
if latest(4, #KEYS) > tonumber(ARGV[1]) then
  give_up()
  return 'flushed'
end
local before = redis.call('HMGET', entry, 't', 'v', 'r')
if before[1] and tonumber(before[1]) >= tonumber(ARGV[2]) then
  if not before[2] then
    give_up()
    return before[3] or 'refused'
  end
  release()
  return tonumber(before[1]) == tonumber(ARGV[2]) and 'there' or 'older'
end
redis.call('HSET', entry, 'g', ARGV[1], 't', ARGV[2], 'e', ARGV[3], 'v', ARGV[4])
redis.call('HDEL', entry, 'r')
redis.call('PEXPIRE', entry, ARGV[5])
redis.call('ZADD', index, ARGV[3], entry)
redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. ARGV[9])
redis.call('PEXPIRE', index, ${REMEMBERED})
release()
if ARGV[7] ~= '' then redis.pcall('PUBLISH', ARGV[6], ARGV[7]) end
return 'kept'
`;

/**
 * What keeping an entry came to: `flushed`: it must not be served; `older`: a newer one is there;
 * `refused`, `denied`: it was revoked.
 */
export type KeepResult = 'kept' | 'there' | 'older' | 'flushed' | RevokedBy;

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
): Script {
  const { name, version, fetchedAt, expiresAt, sealed } = entry;
  return {
    text: KEEP,
    keys: [name, lease, index, ...flushes],
    args: [
      ...[version, fetchedAt, expiresAt, sealed, lifeOf(Number(expiresAt), now)],
      ...[news.channel, news.kept, news.released, Math.floor(now)],
    ],
  };
}

const REVOKE = `
local before = redis.call('HMGET', KEYS[1], 't', 'r')
if before[1] and tonumber(before[1]) > tonumber(ARGV[1]) then return 0 end
if before[2] == 'refused' and tonumber(before[1]) == tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 't', ARGV[1], 'r', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZREM', KEYS[2], KEYS[1])
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
): Script {
  const { fetchedAt, expiresAt, by } = revoked;
  return {
    text: REVOKE,
    keys: [entry, index],
    args: [fetchedAt, by, lifeOf(expiresAt, now)],
  };
}

const DISCARD = `
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`;

/** Deletes an entry that is of no use, and not what has taken its place meanwhile. */
export function discardScript({ name, sealed }: Pick<Entry, 'name' | 'sealed'>): Script {
  return { text: DISCARD, keys: [name], args: [sealed] };
}

const FLUSH = `${HELPERS}
local version = advance(KEYS[1])
for i = 2, #KEYS do redis.call('SET', KEYS[i], version, 'PX', ${REMEMBERED}) end
return version
`;

/** Makes everything that began before of no use. */
export function flushScript(sequence: string, flushes: readonly string[]): Script {
  return { text: FLUSH, keys: [sequence, ...flushes], args: [] };
}

/** How long something is kept whose credentials expire then; Redis takes whole milliseconds. */
function lifeOf(expiresAt: EpochMs, now: EpochMs): DurationMs {
  return Math.max(1, Math.floor(expiresAt - now));
}
