import pino from 'pino';
import type { Verbosity } from '../config/config.ts';
import { scrub } from './scrub.ts';

/** Levels of the existing agent and what they are here; `panic` and `warning` are aliases. */
const LEVEL: Readonly<Record<Verbosity, pino.Level>> = {
  panic: 'fatal',
  fatal: 'fatal',
  error: 'error',
  warn: 'warn',
  warning: 'warn',
  info: 'info',
  debug: 'debug',
  trace: 'trace',
};

/** What a reader that stands still may cost in memory; lines beyond it are dropped. */
const MAX_BUFFERED_BYTES = 4 * 1024 * 1024;

/** Structured log: one JSON object a line with `level`, `time` (RFC 3339) and `msg`. */
export type Log = pino.Logger;

/**
 * The program's log on standard output. Lines are written without waiting for their
 * reader, so that a log collector that stands still never holds up an answer.
 *
 * @param verbosity - The least severe level to write.
 * @param onDropped - Called for each line that is given up because the reader stands still.
 *   Default is nothing.
 */
export function createLog(verbosity: Verbosity, onDropped: () => void = () => {}): Log {
  const destination = pino.destination({
    dest: 1,
    sync: false,
    maxLength: MAX_BUFFERED_BYTES,
  });
  destination.on('drop', onDropped);
  return pino(
    {
      level: LEVEL[verbosity],
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
    },
    destination,
  );
}

/** An error with its stack, as text from which whatever looks like a token was taken out. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: scrub(String(error)) };
  return {
    type: error.name,
    code: (error as NodeJS.ErrnoException).code,
    message: scrub(error.message),
    stack: (error.stack ?? '').split('\n').map(scrub).join('\n'),
  };
}

/**
 * Where audit lines go: the same output, whatever the verbosity. What leads from CloudTrail back
 * to a pod must not depend on how much else an operator wants to read.
 */
export function auditLog(log: Log): Log {
  return log.level === 'silent' ? log : log.child({}, { level: 'info' });
}

/** A log that goes nowhere, for rooms that run without one. */
export const silentLog: Log = pino({ level: 'silent' });
