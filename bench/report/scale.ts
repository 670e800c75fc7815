import type { Axis } from './chart.ts';

/** An axis with its range known: where a value lies, and which values are written at it. */
export interface Scale {
  /** From 0, where the axis begins, to 1. */
  place(value: number): number;
  readonly ticks: readonly { readonly value: number; readonly label: string }[];
}

/** Percentiles that are written at an axis of them. */
const PERCENTILE_TICKS = [1, 25, 50, 75, 90, 99, 99.9] as const;

/**
 * Fits an axis to what is drawn on it.
 *
 * @param values - All values on this axis; infinite ones do not count.
 * @param room - How many ticks there is room for.
 */
export function fitScale(axis: Axis, values: readonly number[], room: number): Scale {
  const finite = values.filter(Number.isFinite);
  if (axis.scale === 'percentile') return percentileScale(finite);
  if (axis.scale === 'log') return logScale(axis, finite, room);
  return linearScale(axis, finite, room);
}

function linearScale(axis: Axis, values: readonly number[], room: number): Scale {
  const most = axis.max ?? Math.max(...values, Number.MIN_VALUE);
  const step = niceStep(most / room);
  const end = axis.max ?? Math.ceil(most / step - 1e-9) * step;
  const ticks = [];
  for (let value = 0; value <= end + step / 1_000; value += step) {
    ticks.push({ value, label: valueLabel(axis, value, step) });
  }
  return { place: (value) => Math.min(1, value / end), ticks };
}

/** Where times are written at a logarithmic axis: in seconds, minutes, hours. */
const ROUND_SECONDS = [0.1, 1, 10, 60, 600, 3_600, 36_000, 360_000] as const;

function logScale(axis: Axis, values: readonly number[], room: number): Scale {
  const positive = values.filter((value) => value > 0);
  const least = Math.min(...positive, Number.MAX_VALUE);
  const most = Math.max(...positive, least);
  const candidates =
    axis.unit === 's' ? ROUND_SECONDS : Array.from({ length: 16 }, (_, index) => 10 ** (index - 3));
  const first = candidates.findLastIndex((value) => value <= least * (1 + 1e-9));
  const low = Math.max(0, first);
  const beyond = candidates.findIndex((value) => value >= most * (1 - 1e-9));
  const high = Math.max(low + 1, beyond < 0 ? candidates.length - 1 : beyond);
  const [bottom, top] = [candidates[low] as number, candidates[high] as number];
  const every = Math.ceil((high - low + 1) / (room + 1));
  return {
    place: (value) => Math.log(Math.max(value, bottom) / bottom) / Math.log(top / bottom),
    ticks: candidates
      .slice(low, high + 1)
      .filter((_, index) => index % every === 0)
      .map((value) => ({ value, label: valueLabel(axis, value, value) })),
  };
}

function percentileScale(values: readonly number[]): Scale {
  const nines = (percent: number) => -Math.log10(1 - Math.min(percent, 99.999) / 100);
  const end = nines(Math.max(...values, 90));
  const ticks = PERCENTILE_TICKS.filter((value) => nines(value) <= end + 1e-9);
  return {
    place: (value) => nines(value) / end,
    // The lower half is narrow: what would not be legible there is left out.
    ticks: ticks.filter((value) => value >= 50).map((value) => ({ value, label: `p${value}` })),
  };
}

/** 1, 2 or 5 times a power of ten: the least that is not below `least`. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  const factor = [1, 2, 5, 10].find((one) => one * power >= least - 1e-12) ?? 10;
  return factor * power;
}

/** A value as it is written at an axis whose ticks lie `step` apart. */
export function valueLabel({ unit = 'count' }: Axis, value: number, step = 0): string {
  if (unit === 'percent') return `${Number((value * 100).toFixed(1))} %`;
  if (unit === 's' && value >= 3_600) return `${short(value / 3_600)} h`;
  if (unit === 's' && value >= 60 && step >= 60) return `${short(value / 60)} min`;
  if (unit === 's') return `${short(value)} s`;
  if (unit === 'ms' && value >= 1_000) return `${short(value / 1_000)} s`;
  if (unit === 'ms') return `${short(value)} ms`;
  return short(value);
}

function short(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(3))} k`;
  if (value >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}
