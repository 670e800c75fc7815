import { printable, some } from './format.ts';
import { terminalReport, terminalTrace } from './terminal.ts';
import { gatherTraces } from './trace.ts';
import { readTraceFile, TraceFileError } from './trace-file.ts';

/** What of a file to show, and how. */
export interface ShowOptions {
  /** How many of the slowest traces. */
  readonly slowest: number;
  /** Only the trace whose id is this or begins with it; lower case. */
  readonly traceId: string | undefined;
  /** Characters on a line. */
  readonly width: number;
  /** Takes what is shown. */
  readonly say: (text: string) => void;
}

/**
 * Shows a file of traces on a terminal.
 *
 * @returns Why it cannot be shown; undefined where it was.
 */
export async function showTraces(
  path: string,
  { slowest, traceId, width, say }: ShowOptions,
): Promise<string | undefined> {
  try {
    const { spans, cut } = await readTraceFile(path);
    const traces = gatherTraces(spans);
    if (traces.length === 0) return `${path} holds no traces`;
    if (traceId === undefined) {
      const more = cut ? '; the file holds more, which was not read' : '';
      say(`${some(traces.length, 'trace')}, ${some(spans.length, 'span')}${more}\n\n`);
      say(terminalReport(traces, { width, slowest }));
      return undefined;
    }
    const found = traces.filter(({ id }) => id.startsWith(traceId));
    const [trace] = found;
    if (trace === undefined) return `${path} holds no trace ${traceId}`;
    if (found.length > 1) return `${found.length} traces of ${path} begin with ${traceId}`;
    say(terminalTrace(trace, width));
    return undefined;
  } catch (error) {
    if (!(error instanceof TraceFileError)) throw error;
    return printable(error.message);
  }
}
