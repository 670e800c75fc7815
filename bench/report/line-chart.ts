import type { Line, LineChart } from './chart.ts';
import { fitScale, type Scale, valueLabel } from './scale.ts';
import { escaped, type Frame, label, px, svg } from './svg.ts';

/** Curves with more points than that are drawn without a dot at each. */
const MAX_DOTS = 14;

/** Draws curves in a frame. */
export function drawLines(chart: LineChart, frame: Frame): string {
  const xs = chart.lines.flatMap(({ points }) => points.map(([x]) => x));
  const ys = chart.lines.flatMap(({ points }) => points.map(([, y]) => y));
  if (chart.limit !== undefined) ys.push(chart.limit.value);
  for (const { from, to } of chart.spans ?? []) xs.push(from, to);
  const scales = {
    x: fitScale(chart.x, xs, frame.kind === 'wide' ? 8 : 4),
    y: fitScale(chart.y, ys, 5),
  };
  const place = placing(frame, scales);
  return svg(
    frame,
    chart.title,
    [
      ...spans(chart, frame, place),
      ...grid(chart, frame, scales, place),
      ...limit(chart, frame, place),
      ...chart.lines.map((line) => curve(line, chart, place)),
      // Above the curves, which may run through them.
      ...names(chart, frame, place),
    ].join(''),
  );
}

interface Place {
  x(value: number): number;
  y(value: number): number;
}

function placing(frame: Frame, scales: { x: Scale; y: Scale }): Place {
  const { width, height, left, right, top, bottom } = frame;
  return {
    x: (value) => left + scales.x.place(value) * (width - left - right),
    y: (value) => height - bottom - scales.y.place(value) * (height - top - bottom),
  };
}

function grid(
  { x, y }: LineChart,
  frame: Frame,
  scales: { x: Scale; y: Scale },
  place: Place,
): string[] {
  const { width, height, left, right, bottom } = frame;
  const floor = height - bottom;
  return [
    ...scales.y.ticks.map(({ value, label: text }) => {
      const at = place.y(value);
      return (
        `<line class="grid" x1="${left}" x2="${width - right}" y1="${px(at)}" y2="${px(at)}"/>` +
        label(left - 8, at + 4, text, 'end')
      );
    }),
    ...scales.x.ticks.map(({ value, label: text }) => {
      const at = place.x(value);
      // A label at an end must not stick out of the drawing.
      const anchor = at > width - right - 14 ? 'end' : 'middle';
      return (
        `<line class="grid" x1="${px(at)}" x2="${px(at)}" y1="${floor}" y2="${floor + 4}"/>` +
        label(at, floor + 18, text, anchor)
      );
    }),
    `<line class="axis" x1="${left}" x2="${width - right}" y1="${floor}" y2="${floor}"/>`,
    label((left + width - right) / 2, height - 8, x.label, 'middle', 'axis-name'),
    label(0, 12, y.label, 'start', 'axis-name'),
  ];
}

function spans({ spans: all = [] }: LineChart, frame: Frame, place: Place): string[] {
  const { top, height, bottom } = frame;
  return all.map(({ from, to }) => {
    const [left, right] = [place.x(from), place.x(to)];
    const tall = height - bottom - top;
    return `<rect class="span" x="${px(left)}" y="${top}" width="${px(right - left)}" height="${tall}"/>`;
  });
}

function limit({ limit: bar }: LineChart, frame: Frame, place: Place): string[] {
  if (bar === undefined) return [];
  const at = place.y(bar.value);
  return [
    `<line class="limit" x1="${frame.left}" x2="${frame.width - frame.right}" y1="${px(at)}" y2="${px(at)}"/>`,
  ];
}

/** What the spans and the limit are called. */
function names({ spans: all = [], limit: bar }: LineChart, frame: Frame, place: Place): string[] {
  const ofSpans = all.map(({ from, to, label: text }) =>
    label((place.x(from) + place.x(to)) / 2, frame.top + 14, text, 'middle', 'span-name'),
  );
  if (bar === undefined) return ofSpans;
  return [
    ...ofSpans,
    label(frame.width - frame.right - 6, place.y(bar.value) - 5, bar.label, 'end', 'limit-name'),
  ];
}

function curve({ label: name, colour, points }: Line, chart: LineChart, place: Place): string {
  const at = points.map(([x, y]) => `${px(place.x(x))},${px(place.y(y))}`);
  const dots = points.length > MAX_DOTS ? [] : points;
  return (
    `<g class="series ${colour}"><title>${escaped(name)}</title>` +
    `<polyline points="${at.join(' ')}"/>` +
    dots
      .map(
        ([x, y]) =>
          `<circle cx="${px(place.x(x))}" cy="${px(place.y(y))}" r="3.5">` +
          `<title>${escaped(`${name}: ${valueLabel(chart.y, y)} at ${valueLabel(chart.x, x)}`)}</title></circle>`,
      )
      .join('') +
    '</g>'
  );
}
