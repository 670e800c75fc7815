import type { DurationMs, EpochMs } from '../clock.ts';
import {
  DURATION_MS,
  ERROR_TYPE,
  PAUSE_MS,
  REFUSAL,
  STATUS_CODE,
} from '../telemetry/span-names.ts';
import type { Attributes, AttributeValue, SpanEvent } from './span.ts';

/** `0 ms`, `0.42 ms`, `12.3 ms`, `1.24 s`. */
export function formatDuration(duration: DurationMs): string {
  if (duration >= 1_000) return `${(duration / 1_000).toFixed(duration >= 10_000 ? 1 : 2)} s`;
  if (duration === 0) return '0 ms';
  const digits = duration >= 100 ? 0 : duration >= 10 ? 1 : 2;
  return `${duration.toFixed(digits)} ms`;
}

/** As RFC 3339; as a number where it is no date. */
export function formatTime(time: EpochMs): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? String(time) : date.toISOString();
}

/** `1 trace`, `2 traces`. */
export function some(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}

const MAX_CHARACTERS = 512;

/** Foreign text without what moves a cursor, hides or turns around; cut where it is long. */
export function printable(value: AttributeValue, most = MAX_CHARACTERS): string {
  const clean = String(value).replace(/\p{C}/gu, '·');
  return clean.length > most ? `${clean.slice(0, most - 1)}…` : clean;
}

/** Without the digits of a number that nobody reads. */
export function rounded(value: AttributeValue): AttributeValue {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toFixed(2)) : value;
}

/** How long what an event tells of took; 0 where it does not say. */
export function eventDuration({ attributes }: SpanEvent): DurationMs {
  return Math.max(0, Number(attributes.get(DURATION_MS) ?? attributes.get(PAUSE_MS)) || 0);
}

/** What a request that got no credentials was answered, and why: `400 InvalidToken`. */
export function answerOf(attributes: Attributes): string {
  const status = attributes.get(STATUS_CODE);
  const reason = attributes.get(REFUSAL) ?? attributes.get(ERROR_TYPE);
  if (reason === undefined) return '';
  return [status, reason].filter((part) => part !== undefined).join(' ');
}
