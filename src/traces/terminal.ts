import { BACK_OFF_EVENT, NAMESPACE, OWN, SERVICE_ACCOUNT } from '../telemetry/span-names.ts';
import {
  answerOf,
  eventDuration,
  formatDuration,
  formatTime,
  printable,
  rounded,
  some,
} from './format.ts';
import { selectTraces } from './selection.ts';
import type { Attributes, CollectedSpan } from './span.ts';
import { type SummaryRow, summarizeKinds, summarizeSpans } from './summary.ts';
import type { Trace, TraceRow } from './trace.ts';

/** Rows of one trace that are shown. */
const MAX_ROWS = 200;
const MIN_WIDTH = 60;
/** How many characters of a trace's id tell it from the others. */
const SHORT_ID = 16;

const LEGEND = `█ span  ▒ attempt  ░ back-off  ✗ failed  · event  → link`;

/** How to write for a terminal. */
export interface TerminalOptions {
  /** Characters on a line. */
  readonly width: number;
  /** How many of the slowest traces to show. */
  readonly slowest: number;
}

/** All of a file: summaries, one trace of each kind and the slowest ones. */
export function terminalReport(
  traces: readonly Trace[],
  { width, slowest }: TerminalOptions,
): string {
  const { typical, slowest: slow } = selectTraces(traces, slowest);
  const parts = [
    ...(traces.length === 0 ? [] : [LEGEND]),
    table('span', summarizeSpans(traces)),
    table('trace', summarizeKinds(traces)),
    ...typical.map((trace) => `One of kind ${trace.kind}\n\n${waterfall(trace, width)}`),
    ...slow.map((trace, index) => {
      const heading = `Slowest, ${index + 1} of ${slow.length}`;
      const above = typical.includes(trace);
      return above
        ? `${heading}: ${shortId(trace)}, above`
        : `${heading}\n\n${waterfall(trace, width)}`;
    }),
  ];
  return `${parts.join('\n\n')}\n`;
}

/** One trace with all that its spans say. */
export function terminalTrace(trace: Trace, width: number): string {
  const details = trace.rows.slice(0, MAX_ROWS).map(({ span }) => detail(span, trace));
  return `${waterfall(trace, width)}\n\n${details.join('\n\n')}\n`;
}

function table(heading: string, rows: readonly SummaryRow[]): string {
  const cells = [
    [heading, 'count', 'p50', 'p99', 'max', 'errors'],
    ...rows.map(({ name, count, p50, p99, max, errors }) => [
      printable(name, 60),
      String(count),
      ...[p50, p99, max].map(formatDuration),
      String(errors),
    ]),
  ];
  const widths = [0, 1, 2, 3, 4, 5].map((column) =>
    Math.max(...cells.map((row) => (row[column] as string).length)),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => {
        const width = widths[column] as number;
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ');
  return cells.map(line).join('\n');
}

function waterfall(trace: Trace, wanted: number): string {
  const width = Math.max(MIN_WIDTH, wanted);
  const shown = trace.rows.slice(0, MAX_ROWS);
  const labels = shown.map(label);
  const labelWidth = Math.min(
    Math.floor(width * 0.45),
    Math.max(...labels.map((text) => text.length)),
  );
  const durations = shown.map(({ span }) => formatDuration(span.duration));
  const durationWidth = Math.max(...durations.map((text) => text.length));
  const track = width - labelWidth - durationWidth - 4;
  const lines = shown.map(({ span }, index) => {
    const name = cut(labels[index] as string, labelWidth).padEnd(labelWidth);
    const duration = (durations[index] as string).padStart(durationWidth);
    return `${name}  ${bar(span, trace, track)}  ${duration}`;
  });
  const more = trace.rows.length - shown.length;
  if (more > 0) lines.push(`and ${some(more, 'more span')}`);
  const { attributes } = trace.root;
  const whose = [NAMESPACE, SERVICE_ACCOUNT]
    .map((name) => attributes.get(name))
    .filter((part) => part !== undefined)
    .join('/');
  const title = [
    trace.id,
    trace.kind,
    answerOf(attributes),
    whose,
    formatTime(trace.startedAt),
  ].filter(Boolean);
  return [title.map((part) => printable(part)).join('  '), ...lines, ...notes(trace)].join('\n');
}

function label({ span, depth }: TraceRow): string {
  const failed = span.error === undefined ? '' : ' ✗';
  return `${'  '.repeat(Math.min(depth, 10))}${printable(span.name, 80)}${failed}`;
}

/** `▒` while an attempt was under way, `░` during a back-off, `█` else. */
function bar(span: CollectedSpan, trace: Trace, width: number): string {
  const at = (time: number) =>
    trace.duration === 0 ? 0 : ((time - trace.startedAt) / trace.duration) * width;
  const cells = Array.from({ length: width }, () => ' ');
  const fill = (from: number, to: number, character: string) => {
    const first = Math.min(width - 1, Math.max(0, Math.floor(at(from))));
    const end = Math.min(width, Math.max(first + 1, Math.round(at(to))));
    cells.fill(character, first, end);
  };
  fill(span.startedAt, span.startedAt + span.duration, '█');
  for (const event of span.events) {
    const lasted = eventDuration(event);
    if (lasted > 0) {
      fill(event.at, event.at + lasted, event.name === BACK_OFF_EVENT ? '░' : '▒');
    }
  }
  return cells.join('');
}

/** What a waterfall does not show: attempts that failed, pauses, links, errors. */
function notes({ rows, startedAt }: Trace): string[] {
  const lines: string[] = [];
  for (const { span } of rows.slice(0, MAX_ROWS)) {
    for (const { name, at, attributes } of span.events) {
      lines.push(
        `  · ${formatDuration(at - startedAt)}  ${printable(name, 80)} ${list(attributes)}`,
      );
    }
    if (span.error !== undefined) {
      const why = [span.error && printable(span.error), list(span.attributes)].filter(Boolean);
      lines.push(`  ✗ ${printable(span.name, 80)}: ${why.join('; ')}`);
    }
    for (const { traceId } of span.links) lines.push(`  → linked to trace ${traceId}`);
  }
  return lines.slice(0, MAX_ROWS);
}

function list(attributes: Attributes): string {
  return [...attributes]
    .map(([name, value]) => {
      const own = name.startsWith(`${OWN}.`) ? name.slice(OWN.length + 1) : name;
      return `${printable(own, 80)}=${printable(rounded(value), 160)}`;
    })
    .join(' ');
}

function detail(span: CollectedSpan, { startedAt }: Trace): string {
  const { name, kind, service, attributes, events, links, error } = span;
  const lines = [
    `${printable(name)}  (${kind}${service === '' ? '' : `, ${printable(service)}`})`,
    `  span ${span.spanId}  at ${formatDuration(span.startedAt - startedAt)}  for ${formatDuration(span.duration)}`,
    ...[...attributes].map(([key, value]) => `  ${printable(key)} = ${printable(rounded(value))}`),
    ...events.map(
      (event) =>
        `  event ${printable(event.name)} at ${formatDuration(event.at - startedAt)}  ${list(event.attributes)}`,
    ),
    ...links.map((link) => `  linked to span ${link.spanId} of trace ${link.traceId}`),
  ];
  if (error !== undefined) lines.push(`  failed${error === '' ? '' : `: ${printable(error)}`}`);
  return lines.join('\n');
}

function shortId({ id }: Trace): string {
  return id.slice(0, SHORT_ID);
}

function cut(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text;
}
