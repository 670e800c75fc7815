import type { Spread } from '../harness/statistics.ts';

/** A number with as many digits as it needs, thousands apart. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** `0.93 (0.91–0.95)`: the median and how far the turns reach; `0.93` of a single one. */
export function ratio({ median, min, max }: Spread): string {
  const shown = median.toFixed(2);
  return min === max ? shown : `${shown} (${min.toFixed(2)}–${max.toFixed(2)})`;
}

/** `28,100 (27,000–29,200)` */
export function countSpread({ median, min, max }: Spread): string {
  return min === max ? count(median) : `${count(median)} (${count(min)}–${count(max)})`;
}

/** Milliseconds, with as many decimals as they deserve. */
export function milliseconds(value: number): string {
  if (value >= 1_000) return `${Number((value / 1_000).toPrecision(3))} s`;
  if (value >= 100) return `${Math.round(value)} ms`;
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`;
}

/** Milliseconds as seconds: `2.6 s`. */
export function seconds(value: number): string {
  return `${Number((value / 1_000).toPrecision(3))} s`;
}

/** A part of 1 as per cent; never rounded up to 100 % or down to 0 %. */
export function percent(part: number): string {
  if (part === 1 || part === 0) return `${part * 100} %`;
  const shown = (part * 100).toFixed(part > 0.99 || part < 0.01 ? 2 : 1);
  return `${shown === '100.00' ? '99.99' : shown} %`;
}

/** A longer time, in the largest unit that fits: `48 s`, `3.5 min`, `1.2 h`. */
export function span(milliseconds: number): string {
  const seconds = milliseconds / 1_000;
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 6_000) return `${(seconds / 60).toFixed(1)} min`;
  return `${(seconds / 3_600).toFixed(1)} h`;
}
