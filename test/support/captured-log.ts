import pino from 'pino';
import type { Log } from '../../src/telemetry/log.ts';

/** One line of a log. */
export interface CapturedLine {
  readonly level: string;
  readonly msg: string;
  // biome-ignore lint/suspicious/noExplicitAny: every message has fields of its own
  readonly [field: string]: any;
}

/** A real log, whose lines the test can read. */
export function capturedLog(): { readonly log: Log; readonly lines: CapturedLine[] } {
  const lines: CapturedLine[] = [];
  const log = pino(
    { level: 'trace', base: null, formatters: { level: (label) => ({ level: label }) } },
    { write: (line: string) => void lines.push(JSON.parse(line) as CapturedLine) },
  );
  return { log, lines };
}
