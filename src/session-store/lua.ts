import type { DurationMs } from '../clock.ts';
import { ENTRY_FIELDS, MAX_SEALED } from './entries.ts';
import { MAX_CLOCK_DIFFERENCE } from './version-clock.ts';

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
// The clocks of Redis and of the brokers may be a day apart, and more. Credentials are dated by
// brokers, whose clocks agree since AWS takes no others; and a flush is later than their time as
// well, since what is fetched while Redis is away has a version by that.
//
// Announcements are not what a script is for: where the ACL forbids them, the rest is done.

/** Flushes and the sequence are remembered for two days: longer than any credentials live. */
export const REMEMBERED: DurationMs = 2 * 24 * 60 * 60_000;
/** By how much a version or a time may be ahead of a clock, in microseconds. */
export const MAX_AHEAD = MAX_CLOCK_DIFFERENCE * 1_000;
/** Longer than any version or time. */
const MAX_DIGITS = 64;

/** Begins each script: reads what is there, and does away with what is not ours. */
export const HELPERS = `
local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function text(key)
  local length = redis.pcall('STRLEN', key)
  if type(length) == 'table' or length > ${MAX_DIGITS} then return 'no number' end
  return redis.call('GET', key) or '0'
end
local function remember(key, version)
  local digits = string.format('%.0f', version)
  redis.call('SET', key, digits, 'PX', ${REMEMBERED})
  return digits
end
-- A version later than all before it, and no earlier than 'floor'.
local function advance(key, floor)
  local version = microseconds()
  if floor > version and floor <= version + ${MAX_AHEAD} then version = floor end
  local before = tonumber(text(key))
  if before and before >= version and before <= version + ${MAX_AHEAD} then
    version = before + 1
  end
  return remember(key, version)
end
-- Rather flush once too often than not at all.
local function flushed_at(key)
  local at, now = tonumber(text(key)), microseconds()
  if at and at >= 0 and at <= now + ${MAX_AHEAD} then return at end
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
    if type(length) == 'table' or length > (field == 'v' and ${MAX_SEALED} or ${MAX_DIGITS}) then
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
  if at and at >= 0 and at * 1000 <= microseconds() + ${MAX_AHEAD} then return at end
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

/** The fields of an entry, as arguments of `fields`. */
export const FIELDS = ENTRY_FIELDS.map((field) => `'${field}'`).join(', ');
