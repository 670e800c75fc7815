import type { EpochMs } from '../clock.ts';
import type { Entry } from './entries.ts';
import { FIELDS, HELPERS, MAX_AHEAD } from './lua.ts';
import type { Script } from './redis-link.ts';
import {
  type EntryState,
  MAX_NAME,
  readEntries,
  readEntryStates,
  readNames,
  readVersion,
  readVersions,
} from './replies.ts';

// What is read of many entries at once: to load them, and to compare them with what is held.

const LIST = `${HELPERS}
mend_index(KEYS[1])
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
local names = {}
for _, name in ipairs(found) do
  if #name <= ${MAX_NAME} and string.sub(name, 1, #ARGV[3]) == ARGV[3] then
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
if given and given > now and given <= now + ${MAX_AHEAD} then now = given end
return string.format('%.0f', now)
`;

/** Reads the latest version that was given out, or would be now. */
export function versionScript(sequence: string): Script<number> {
  return { text: READ_VERSION, keys: [sequence], args: [], read: readVersion };
}
