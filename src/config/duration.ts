import type { DurationMs } from '../clock.ts';

const UNIT: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/** The longest duration that a timer can hold; Go's own limit is 290 years. */
const MAX_DURATION: DurationMs = 2 ** 31 - 1;

/**
 * Reads a duration in the form of Go's `time.ParseDuration`, which the existing agent's
 * flags take: decimal numbers, each with a unit, as in `3h`, `1h30m`, `1.5s`, `500ms`; and a
 * bare `0`. Units: `ns`, `us`, `µs`, `ms`, `s`, `m`, `h`.
 *
 * @param text - The duration as written.
 * @param tooLong - What becomes of one that no timer holds: it is refused, or cut to the longest
 *   that one does. Default is `refuse`.
 * @returns Milliseconds, at most 2^31 - 1 (24.8 days), since timers hold no more.
 * @throws TypeError that says what is wrong; negative durations are refused, since no flag
 *   has a use for one.
 * @see https://pkg.go.dev/time#ParseDuration
 */
export function parseDuration(text: string, tooLong: 'refuse' | 'cut' = 'refuse'): DurationMs {
  const shown = JSON.stringify(text.slice(0, 64));
  if (text === '0' || text === '+0') return 0;
  if (text.startsWith('-')) throw new TypeError(`a duration cannot be negative: ${shown}`);
  const body = text.startsWith('+') ? text.slice(1) : text;
  const term = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/y;
  let total = 0;
  let end = 0;
  for (let match = term.exec(body); match !== null; match = term.exec(body)) {
    total += Number(match[1]) * (UNIT[match[2] as string] as number);
    end = term.lastIndex;
  }
  if (body === '' || end !== body.length) {
    throw new TypeError(`not a duration: ${shown} (write it as in 90s, 3h or 1h30m)`);
  }
  if (total > MAX_DURATION && tooLong === 'cut') return MAX_DURATION;
  if (total > MAX_DURATION) throw new TypeError(`a duration of more than 24 days: ${shown}`);
  // To the nanosecond, as in Go: 1.001 s is 1,001 ms, and not a little less.
  return Math.round(total * 1e6) / 1e6;
}

/**
 * Writes a duration as {@link parseDuration} reads it, largest units first: `1h30m`, `1.9s`,
 * `500ms`, `0s`.
 *
 * @param duration - Whole milliseconds, not negative.
 */
export function formatDuration(duration: DurationMs): string {
  if (duration === 0) return '0s';
  if (duration < 1_000) return `${duration}ms`;
  const hours = Math.floor(duration / 3_600_000);
  const minutes = Math.floor((duration % 3_600_000) / 60_000);
  const seconds = (duration % 60_000) / 1_000;
  return `${hours > 0 ? `${hours}h` : ''}${minutes > 0 ? `${minutes}m` : ''}${seconds > 0 ? `${seconds}s` : ''}`;
}
