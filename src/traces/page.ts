import { writeFile } from 'node:fs/promises';
import type { DurationMs } from '../clock.ts';
import {
  ATTEMPT_EVENT,
  BACK_OFF_EVENT,
  ERROR_TYPE,
  NAMESPACE,
  OWN,
  SERVICE_ACCOUNT,
} from '../telemetry/span-names.ts';
import {
  answerOf,
  eventDuration,
  formatDuration,
  formatTime,
  printable,
  rounded,
  some,
} from './format.ts';
import { PAGE_STYLE } from './page-style.ts';
import { selectTraces } from './selection.ts';
import type { Attributes, CollectedSpan, SpanEvent, SpanLink } from './span.ts';
import { type SummaryRow, summarizeKinds, summarizeSpans } from './summary.ts';
import { gatherTraces, TRACE_KINDS, type Trace, type TraceKind, type TraceRow } from './trace.ts';
import { readTraceFile } from './trace-file.ts';

/** Rows of one trace that are shown. */
const MAX_ROWS = 200;
/** Traces that are shown because others link to them. */
const MAX_LINKED = 50;
/** Links back that are named; the others are counted. */
const MAX_BACK_LINKS = 8;
const DEFAULT_SLOWEST = 10;
const SHORT_ID = 8;

/** What each kind means, for who has not read about them. */
const MEANING: Readonly<Record<TraceKind, string>> = {
  hit: 'the session was there',
  joined: 'another request was fetching the session',
  miss: 'this request fetched the session',
  stale: 'the session was there, and its latest renewal had failed',
  renewal: 'a session fetched anew before it expires',
  refused: 'answered with 4xx',
  failed: 'answered with 5xx, or failed otherwise',
  other: 'not of the broker',
};

/** What to show of a file, and under which title. */
export interface PageOptions {
  readonly title: string;
  /** How many of the slowest traces; default 10. */
  readonly slowest?: number;
}

/** What a page is about. */
export interface PageContents {
  readonly traces: number;
  readonly spans: number;
}

/**
 * Makes a page of a file of traces: one file that needs no network and runs no script.
 *
 * @param traceFile - An OTLP request as JSON on each line.
 * @throws TraceFileError; what writing failed with.
 */
export async function writeTracePage(
  traceFile: string,
  pageFile: string,
  options: PageOptions,
): Promise<PageContents> {
  const { spans } = await readTraceFile(traceFile);
  const traces = gatherTraces(spans);
  await writeFile(pageFile, tracePage(traces, options));
  return { traces: traces.length, spans: spans.length };
}

/** The page as HTML. */
export function tracePage(traces: readonly Trace[], options: PageOptions): string {
  return new Page(traces, options).render();
}

class Page {
  readonly #traces: readonly Trace[];
  readonly #title: string;
  readonly #typical: readonly Trace[];
  readonly #slowest: readonly Trace[];
  readonly #linked: readonly Trace[];
  /** Spans with a place on the page, by the id of that place. */
  readonly #shown = new Map<string, CollectedSpan>();
  /** Spans that link to a span, by the id of that span's place. */
  readonly #linking = new Map<string, CollectedSpan[]>();
  readonly #begunAt: number;

  constructor(traces: readonly Trace[], { title, slowest = DEFAULT_SLOWEST }: PageOptions) {
    this.#traces = traces;
    this.#title = title;
    const selection = selectTraces(traces, slowest);
    this.#typical = selection.typical;
    this.#slowest = selection.slowest;
    this.#linked = selection.linked.slice(0, MAX_LINKED);
    this.#begunAt = traces[0]?.startedAt ?? 0;
    for (const trace of [...this.#typical, ...this.#slowest, ...this.#linked]) {
      for (const { span } of trace.rows.slice(0, MAX_ROWS)) this.#shown.set(place(span), span);
    }
    for (const { rows } of traces) {
      for (const { span } of rows) {
        for (const link of span.links) {
          const known = this.#linking.get(place(link));
          if (known === undefined) this.#linking.set(place(link), [span]);
          else known.push(span);
        }
      }
    }
  }

  render(): string {
    const title = html(this.#title);
    const missing = TRACE_KINDS.filter(
      (kind) => kind !== 'other' && !this.#typical.some((trace) => trace.kind === kind),
    );
    const absent =
      missing.length === 0 ? '' : `<p>None in this run: ${html(missing.join(', '))}.</p>`;
    const once = this.#slowest.filter((trace) => !this.#typical.includes(trace));
    return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<h1>${title}</h1>
<p>${this.#overview()}</p>
<h2>Traces</h2>
<div class="scroll">${figures('kind', summarizeKinds(this.#traces), (name) => this.#kind(name))}</div>
<h2>Spans</h2>
<div class="scroll">${figures('span', summarizeSpans(this.#traces), html)}</div>
<h2>One of each kind</h2>
${LEGEND}
${absent}
${this.#typical.map((trace) => this.#waterfall(trace)).join('\n')}
<h2>The slowest</h2>
<p>${this.#slowest.map((trace) => reference(trace)).join(' · ')}</p>
${once.map((trace) => this.#waterfall(trace)).join('\n')}
${this.#linked.length === 0 ? '' : '<h2>Linked from above</h2>'}
${this.#linked.map((trace) => this.#waterfall(trace)).join('\n')}
</body>
</html>
`;
  }

  #overview(): string {
    let spans = 0;
    let endedAt = this.#begunAt;
    const services = new Set<string>();
    for (const { rows, startedAt, duration, root } of this.#traces) {
      spans += rows.length;
      endedAt = Math.max(endedAt, startedAt + duration);
      services.add(root.service);
    }
    if (this.#traces.length === 0) return 'There are none.';
    const whose = [...services].filter(Boolean).slice(0, 5).join(', ');
    const parts = [
      `${some(this.#traces.length, 'trace')} of ${some(spans, 'span')}`,
      `within ${formatDuration(endedAt - this.#begunAt)}`,
      `from ${formatTime(this.#begunAt)}`,
      ...(whose === '' ? [] : [`by ${whose}`]),
    ];
    return html(parts.join(', '));
  }

  #kind(name: string): string {
    const example = this.#typical.find(({ kind }) => kind === name);
    const meaning = html(MEANING[name as TraceKind]);
    return `<a href="#${example === undefined ? '' : traceId(example)}">${html(name)}</a> <span class="meaning">${meaning}</span>`;
  }

  #waterfall(trace: Trace): string {
    const { attributes } = trace.root;
    const whose = [NAMESPACE, SERVICE_ACCOUNT]
      .map((name) => attributes.get(name))
      .filter((part) => part !== undefined)
      .join('/');
    const answer = answerOf(attributes);
    const shown = trace.rows.slice(0, MAX_ROWS);
    const more = trace.rows.length - shown.length;
    const quarters = [0, 1, 2, 3, 4].map((quarter) => (quarter * trace.duration) / 4);
    return `<article class="trace" id="${traceId(trace)}">
<header><b>${html(trace.kind)}</b>${answer === '' ? '' : `<span class="bad">${html(answer)}</span>`}${whose === '' ? '' : `<span>${html(whose)}</span>`}<span>${formatDuration(trace.duration)}</span><span>at ${formatDuration(trace.startedAt - this.#begunAt)}</span><span class="mono">${trace.id}</span></header>
<div class="grid axis"><span></span><div>${quarters.map((at) => `<span>${formatDuration(at)}</span>`).join('')}</div></div>
${shown.map((row) => this.#row(row, trace)).join('\n')}
${more === 0 ? '' : `<p class="links">and ${some(more, 'more span')}</p>`}
</article>`;
  }

  #row({ span, depth }: TraceRow, trace: Trace): string {
    const indent = Math.min(depth, 8) * 0.9;
    const failed = span.error === undefined ? '' : ' <small>failed</small>';
    return `<details class="span" id="${place(span)}">
<summary class="grid"><span class="name" style="padding-left:${indent}rem">${html(span.name)}${failed}</span><span class="track">${bars(span, trace)}</span><span class="took">${formatDuration(span.duration)}</span></summary>
${details(span, trace)}
</details>${this.#links(span)}`;
  }

  #links(span: CollectedSpan): string {
    const there = span.links.map((link) => `→ linked to ${this.#target(link)}`);
    const back = this.#linking.get(place(span)) ?? [];
    const named = back.filter((from) => this.#shown.has(place(from))).slice(0, MAX_BACK_LINKS);
    const names = named.map((from) => `${anchor(place(from), from.traceId.slice(0, SHORT_ID))}`);
    if (back.length > names.length) names.push(`${back.length - names.length} not shown`);
    if (back.length > 0)
      there.push(`← ${some(back.length, 'link')} to this span: ${names.join(', ')}`);
    return there.map((line) => `<p class="links">${line}</p>`).join('');
  }

  #target(link: SpanLink): string {
    const target = this.#shown.get(place(link));
    if (target === undefined) {
      return `span <code>${link.spanId}</code> of trace <code>${link.traceId}</code>, which is not shown`;
    }
    return anchor(place(link), `${target.name} of ${link.traceId.slice(0, SHORT_ID)}`);
  }
}

const LEGEND = `<ul class="legend">
<li><i class="server"></i>request</li><li><i class="internal"></i>within the broker</li>
<li><i class="client"></i>call to EKS Auth, waiting for its turn</li><li><i class="attempt"></i>attempt under way</li>
<li><i class="missed"></i>failed</li><li><i class="pause"></i>back-off</li>
</ul>
<p>A row opens: attributes and events.</p>`;

/** The bar of a span and what happened on it. */
function bars(span: CollectedSpan, trace: Trace): string {
  const bar = (kind: string, from: number, lasted: DurationMs, title: string) => {
    const left = part(from - trace.startedAt, trace.duration);
    const width = Math.min(part(lasted, trace.duration), 100 - left);
    const label = html(title);
    return `<i class="${kind}" style="left:min(${left.toFixed(3)}%,100% - 3px);width:${width.toFixed(3)}%" title="${label}"></i>`;
  };
  const kind = span.error !== undefined && span.events.length === 0 ? 'missed' : span.kind;
  const title = `${span.name}, ${formatDuration(span.duration)}`;
  return [
    bar(kind, span.startedAt, span.duration, title),
    ...span.events.slice(0, MAX_ROWS).map((event) => {
      const lasted = eventDuration(event);
      return bar(shapeOf(event, lasted), event.at, lasted, titleOf(event));
    }),
  ].join('');
}

function shapeOf({ name, attributes }: SpanEvent, lasted: DurationMs): string {
  if (name === BACK_OFF_EVENT) return 'part pause';
  if (name !== ATTEMPT_EVENT && lasted === 0) return 'tick';
  return attributes.has(ERROR_TYPE) ? 'part missed' : 'part attempt';
}

function titleOf(event: SpanEvent): string {
  const said = [...event.attributes].map(([name, value]) => `${shorten(name)} ${rounded(value)}`);
  return [event.name, ...said].join(', ');
}

function part(time: DurationMs, whole: DurationMs): number {
  return whole === 0 ? 0 : Math.min(100, Math.max(0, (100 * time) / whole));
}

function details(span: CollectedSpan, trace: Trace): string {
  const own = new Map([...span.attributes, ['span', `${span.spanId}, ${span.kind}`]]);
  const events = span.events
    .slice(0, MAX_ROWS)
    .map(
      (event) =>
        `<h4>${html(event.name)} <span style="font-weight:400">at ${formatDuration(event.at - trace.startedAt)}</span></h4>${list(event.attributes)}`,
    );
  const error =
    span.error === undefined
      ? ''
      : `<p class="bad">failed: ${html(span.error || 'no reason given')}</p>`;
  return `<div class="more">${error}${list(own)}${events.join('')}</div>`;
}

function list(attributes: Attributes): string {
  if (attributes.size === 0) return '';
  const entries = [...attributes].map(
    ([name, value]) => `<dt>${html(shorten(name))}</dt><dd>${html(rounded(value))}</dd>`,
  );
  return `<dl class="mono">${entries.join('')}</dl>`;
}

function shorten(name: string): string {
  return name.startsWith(`${OWN}.`) ? name.slice(OWN.length + 1) : name;
}

function figures(
  heading: string,
  rows: readonly SummaryRow[],
  show: (name: string) => string,
): string {
  const heads = [heading, 'count', 'p50', 'p99', 'max', 'errors'];
  const cells = rows.map(
    ({ name, count, p50, p99, max, errors }) =>
      `<tr><td>${show(name)}</td><td>${count}</td>${[p50, p99, max]
        .map((figure) => `<td>${formatDuration(figure)}</td>`)
        .join('')}<td${errors > 0 ? ' class="bad"' : ''}>${errors}</td></tr>`,
  );
  return `<table class="figures"><thead><tr>${heads.map((head) => `<th>${head}</th>`).join('')}</tr></thead><tbody>${cells.join('')}</tbody></table>`;
}

function reference(trace: Trace): string {
  return anchor(traceId(trace), `${formatDuration(trace.duration)} ${trace.kind}`);
}

function anchor(id: string, text: string): string {
  return `<a href="#${id}">${html(text)}</a>`;
}

function traceId({ id }: Trace): string {
  return `t-${id}`;
}

/** Where a span is on the page. Ids are hexadecimal digits, as they were read. */
function place({ traceId: trace, spanId }: SpanLink): string {
  return `s-${trace}-${spanId}`;
}

/** Foreign text as text, whatever it holds. */
function html(text: string | number | boolean): string {
  return printable(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
