import { createReadStream } from 'node:fs';
import { OtlpError, spansOf } from './otlp-json.ts';
import type { CollectedSpan } from './span.ts';

// A file of traces: an OTLP request as JSON on each line, as the broker's receiver and the
// OpenTelemetry collector's file exporter write it.

/** Longer lines are none of OTLP. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;
/** More spans than this are not held in memory. */
const MAX_SPANS = 500_000;
const NEWLINE = 0x0a;

/** A file that cannot be read, or that holds no traces; `message` names it and the line. */
export class TraceFileError extends Error {
  override readonly name = 'TraceFileError';
  readonly code = 'ERR_TRACE_FILE';
}

/** What a file holds. */
export interface TraceFile {
  readonly spans: readonly CollectedSpan[];
  /** It holds more, which was not read. */
  readonly cut: boolean;
}

/**
 * Reads a file of traces.
 *
 * @param mostSpans - Spans to read. Default is 500,000.
 * @throws TraceFileError
 */
export async function readTraceFile(path: string, mostSpans = MAX_SPANS): Promise<TraceFile> {
  const spans: CollectedSpan[] = [];
  const known = new Set<string>();
  let number = 0;
  try {
    for await (const line of linesOf(path)) {
      number += 1;
      if (line.trim() === '') continue;
      for (const span of spansOf(JSON.parse(line))) {
        // An exporter that got no answer sends the same spans again.
        const id = `${span.traceId}${span.spanId}`;
        if (known.has(id)) continue;
        if (spans.length === mostSpans) return { spans, cut: true };
        known.add(id);
        spans.push(span);
      }
    }
  } catch (error) {
    throw new TraceFileError(`${path}${complaint(error, number)}`);
  }
  return { spans, cut: false };
}

function complaint(error: unknown, line: number): string {
  if (error instanceof SyntaxError) return `, line ${line}: not JSON, or cut off`;
  if (error instanceof OtlpError) return `, line ${line}: not OTLP: ${error.message}`;
  if (error instanceof RangeError) return `, line ${line + 1}: ${error.message}`;
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
      return ': no such file';
    case 'EISDIR':
      return ': is a folder';
    case 'EACCES':
      return ': permission denied';
    default:
      return `: ${message}`;
  }
}

/** The lines of a file; a bound on each keeps a file that has none out of memory. */
async function* linesOf(path: string): AsyncGenerator<string> {
  let begun: Buffer[] = [];
  let size = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      begun.push(chunk.subarray(from, at));
      yield Buffer.concat(begun).toString('utf8');
      begun = [];
      size = 0;
      from = at + 1;
    }
    begun.push(chunk.subarray(from));
    size += chunk.length - from;
    if (size > MAX_LINE_BYTES) throw new RangeError(`longer than ${MAX_LINE_BYTES} bytes`);
  }
  yield Buffer.concat(begun).toString('utf8');
}
