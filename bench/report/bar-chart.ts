import type { BarChart } from './chart.ts';
import { fitScale, valueLabel } from './scale.ts';
import { escaped, type Frame, label, px, svg } from './svg.ts';

const BAR = 18;
const GAP = 8;
const GROUP_NAME = 26;
/** Room for a value behind its bar. */
const VALUE_ROOM = 52;

/** Draws bars that lie, each with its name and its value beside it. */
export function drawBars(chart: BarChart, frame: Frame): string {
  const values = chart.groups.flatMap(({ bars }) => bars.map(({ value }) => value));
  const scale = fitScale(chart.value, values, 5);
  // On a phone the name stands above its bar, since beside it there is no room for both.
  const above = frame.kind === 'narrow';
  const left = above ? 8 : 190;
  const room = frame.width - left - frame.right - VALUE_ROOM;
  const pitch = BAR + GAP + (above ? 15 : 0);
  const parts: string[] = [];
  let y = 4;
  for (const { label: group, bars } of chart.groups) {
    parts.push(label(above ? 8 : 0, y + 15, group, 'start', 'group-name'));
    y += GROUP_NAME;
    for (const { label: name, colour, value } of bars) {
      const top = above ? y + 15 : y;
      const width = Math.max(1, scale.place(value) * room);
      const shown = valueLabel(chart.value, value);
      parts.push(
        above ? label(left, y + 10, name, 'start') : label(left - 10, top + 13, name, 'end'),
        `<rect class="bar ${colour}" x="${left}" y="${top}" width="${px(width)}" height="${BAR}" rx="2">` +
          `<title>${escaped(`${name}: ${shown}`)}</title></rect>`,
        label(left + width + 6, top + 13, shown, 'start', 'value'),
      );
      y += pitch;
    }
    y += GAP;
  }
  parts.push(label(left, y + 8, chart.value.label, 'start', 'axis-name'));
  return svg(frame, chart.title, parts.join(''), y + 18);
}
