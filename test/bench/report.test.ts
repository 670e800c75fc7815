import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { readConfig } from '../../bench/config/config.ts';
import type { Chart } from '../../bench/report/chart.ts';
import type { Machine } from '../../bench/report/machine.ts';
import type { Results } from '../../bench/report/results.ts';
import { writeResults } from '../../bench/report/write-results.ts';
import { findChromium, openPage } from './chromium.ts';

const chromium = findChromium();
const skip =
  chromium !== undefined || process.env.CI === 'true' ? false : 'Chromium is not installed';

const charts: Chart[] = [
  {
    kind: 'lines',
    title: 'Linear, with everything',
    x: { label: 'time', unit: 's' },
    y: { label: 'answered', unit: 'percent', max: 1 },
    limit: { value: 0.5, label: 'half' },
    spans: [{ from: 2, to: 6, label: 'away' }],
    lines: (['service-account', 'pod', 'token'] as const).map((colour, index) => ({
      label: `curve of ${colour} <&>`,
      colour,
      points: [0, 4, 10].map((x) => [x, 1 - (index * x) / 20] as const),
    })),
  },
  {
    kind: 'lines',
    title: 'Logarithmic, over percentiles',
    x: { label: 'percentile', scale: 'percentile' },
    y: { label: 'latency', unit: 'ms', scale: 'log' },
    lines: [{ label: 'hits', colour: 'broker', points: [50, 90, 99, 99.9].map((p) => [p, p]) }],
  },
  {
    kind: 'bars',
    title: 'Bars',
    value: { label: 'µs' },
    groups: [{ label: 'group', bars: [{ label: 'bare', colour: 'bare', value: 30 }] }],
  },
];

function resultsWith(shown: readonly Chart[]): Results {
  return {
    startedAt: '2026-01-01T00:00:00.000Z',
    seconds: 1,
    quick: false,
    subject: { program: undefined, peer: undefined, traced: false },
    machine: { cpu: 'a processor', cores: 2, node: process.version } as Machine,
    config: readConfig(new URL('../../bench.config.json', import.meta.url).pathname, {
      quick: false,
      set: [],
    }),
    scenarios: {
      density: {
        shows: 'something',
        seconds: 1,
        headlines: ['50x fewer calls'],
        tables: [
          {
            title: 'a table',
            columns: ['', 'calls', 'throttled', 'to the last', 'resident', 'after rotation'],
            rows: [['one', '1', '2', '3', '4', '5']],
            notes: ['a note'],
          },
        ],
        charts: shown,
        figures: {},
      },
    },
  };
}

t.test('the report in a real browser', { skip }, async (t) => {
  const directory = t.testdir();
  writeResults(resultsWith(charts), directory);
  const url = pathToFileURL(join(directory, 'report.html')).href;
  await using page = await openPage(chromium as string, url);

  for (const [width, kind] of [
    [1_000, 'wide'],
    [390, 'narrow'],
  ] as const) {
    await page.show({ width, height: 800, scheme: 'light' });
    const shown = await page.evaluate<{ name: string; kind: string; width: number }[]>(
      `[...document.querySelectorAll('svg.chart')]
        .map((chart) => ({
          name: chart.getAttribute('aria-label'),
          kind: chart.classList[1],
          width: chart.getBoundingClientRect().width,
        }))
        .filter((chart) => chart.width > 0)`,
    );
    t.same(
      shown.map((chart) => [chart.name, chart.kind]),
      charts.map(({ title }) => [title, kind]),
      `every chart once at ${width} px`,
    );
    t.equal(
      await page.evaluate('document.documentElement.scrollWidth'),
      width,
      'nothing sticks out at the side',
    );
    const smallest = await page.evaluate<number>(
      `Math.min(...[...document.querySelectorAll('svg.chart.${kind} text')].map((text) =>
        parseFloat(getComputedStyle(text).fontSize) *
          text.ownerSVGElement.getBoundingClientRect().width / text.ownerSVGElement.viewBox.baseVal.width))`,
    );
    t.ok(smallest >= 11.5, `text of charts is ${smallest} px at ${width} px`);
    const strays = await page.evaluate<string[]>(
      `[...document.querySelectorAll('svg.chart.${kind} text')].filter((text) => {
        const [inner, outer] = [text, text.ownerSVGElement].map((one) => one.getBoundingClientRect());
        return inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1;
      }).map((text) => text.textContent)`,
    );
    t.same(strays, [], 'no text is cut off');
  }

  const background = () => page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
  const strokes = () =>
    page.evaluate<string[]>(
      `[...document.querySelectorAll('svg.wide .series polyline')].map((one) => getComputedStyle(one).stroke)`,
    );
  await page.show({ width: 1_000, height: 800, scheme: 'light' });
  const light = { page: await background(), lines: await strokes() };
  await page.show({ width: 1_000, height: 800, scheme: 'dark' });
  const dark = { page: await background(), lines: await strokes() };
  t.not(light.page, dark.page, 'light and dark');
  t.equal(new Set(light.lines).size, 3, 'a colour for each curve');
  for (const [index, line] of light.lines.entries()) {
    t.not(line, dark.lines[index], 'which is another one in the dark');
    t.ok(contrast(line, light.page) >= 3, `${line} is seen on ${light.page}`);
    t.ok(contrast(dark.lines[index] ?? '', dark.page) >= 3, 'and in the dark');
  }

  t.same(page.complaints, [], 'no console error');
  t.same(page.requests, [url], 'nothing is loaded besides the page');
});

/** The contrast of two colours as WCAG 2 defines it: at least 3 for graphics. */
function contrast(one: string, other: string): number {
  const [darker = 0, lighter = 0] = [one, other].map(luminance).toSorted((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = (colour.match(/\d+/g) ?? [])
    .slice(0, 3)
    .map((part) => Number(part) / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
