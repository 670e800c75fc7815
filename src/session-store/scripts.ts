import type { DurationMs, EpochMs } from '../clock.ts';
import type { Entry } from './entries.ts';
import { FIELDS, HELPERS, MAX_AHEAD, REMEMBERED } from './lua.ts';
import type { Script } from './redis-link.ts';
import {
  type ClaimReply,
  type KeepResult,
  readClaimReply,
  readCount,
  readKeepResult,
  readVersion,
} from './replies.ts';
import type { RevokedBy } from './session-store.ts';

// The steps that change something, each in one; `lua.ts` says what they work on.

const CLAIM = `${HELPERS}
local entries, others = tonumber(ARGV[1]), tonumber(ARGV[5])
local flushed = latest(entries + 3, #KEYS - others)
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
local function held_for(key)
  local holder = tonumber(text(key))
  if not holder or holder <= flushed then return nil end
  local left = redis.call('PTTL', key)
  -- One that would never end is nobody's.
  if left >= 0 and left <= lease then return left end
end
local left = held_for(KEYS[1])
for i = #KEYS - others + 1, #KEYS do left = left or held_for(KEYS[i]) end
if left then return {'held', left} end
local version = advance(KEYS[2], 0)
redis.call('SET', KEYS[1], version, 'PX', lease)
return {'lease', version}
`;

/** What the claim of a session looks at. */
export interface ClaimKeys {
  /** Under each key of the file; that under the first is taken. */
  readonly leases: readonly [string, ...string[]];
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
  { leases: [first, ...others], sequence, entries, flushes }: ClaimKeys,
  newerThan: EpochMs,
  goodUntil: EpochMs,
  lease: DurationMs,
): Script<ClaimReply> {
  return {
    text: CLAIM,
    keys: [first, sequence, ...entries, ...flushes, ...others],
    args: [entries.length, newerThan, goodUntil, lease, others.length],
    read: readClaimReply(entries, lease),
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
local now = tonumber(ARGV[1])
-- Nothing that is fetched in days would count as fetched since.
if microseconds() > now + ${MAX_AHEAD} then return redis.error_reply('CLOCK of Redis is ahead') end
local version = advance(KEYS[1], now)
for i = 2, #KEYS do redis.call('SET', KEYS[i], version, 'PX', ${REMEMBERED}) end
return version
`;

/**
 * Makes everything that began before of no use.
 *
 * @param now - By the broker's clock.
 */
export function flushScript(
  sequence: string,
  flushes: readonly string[],
  now: EpochMs,
): Script<number> {
  const microseconds = Math.ceil(now) * 1_000;
  return { text: FLUSH, keys: [sequence, ...flushes], args: [microseconds], read: readVersion };
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

/** How long something is kept whose credentials expire then; Redis takes whole milliseconds. */
function lifeOf(expiresAt: EpochMs, now: EpochMs): DurationMs {
  return Math.max(1, Math.floor(expiresAt - now));
}
