import pino from 'pino';
import { KeptOutput } from '../../src/simulator/test-output.ts';
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
  const kept = new KeptOutput('log.stdout');
  const log = pino(
    { level: 'trace', base: null, formatters: { level: (label) => ({ level: label }) } },
    {
      write: (line: string) => {
        kept.write(line);
        lines.push(JSON.parse(line) as CapturedLine);
      },
    },
  );
  return { log, lines };
}
