import { Command } from 'commander';
import { reader } from '../config/flag-reader.ts';
import { wholeNumber } from '../config/values.ts';

const DEFAULT_SLOWEST = 3;
/** Characters on a line where the output is no terminal. */
const DEFAULT_WIDTH = 110;

interface Flags {
  slowest: number;
  traceId?: string;
}

/** `traces`: shows traces that were collected in a file. */
export function tracesCommand(): Command {
  return new Command('traces')
    .description('show traces of a file: OTLP as JSON, a request on each line')
    .argument('<file>', "as demo --trace or the OpenTelemetry collector's file exporter write it")
    .option(
      '--slowest <count>',
      'how many of the slowest traces to show',
      reader(wholeNumber(0, 1_000)),
      DEFAULT_SLOWEST,
    )
    .option('--trace-id <id>', 'one trace with all that it says; its id, or how that begins')
    .action(async (file: string, { slowest, traceId }: Flags, command: Command) => {
      if (traceId !== undefined && !/^[0-9a-f]{1,32}$/i.test(traceId)) {
        command.error('error: --trace-id takes up to 32 hexadecimal digits');
      }
      endWithReader();
      const { showTraces } = await import('../traces/show-traces.ts');
      const problem = await showTraces(file, {
        slowest,
        traceId: traceId?.toLowerCase(),
        width: process.stdout.columns ?? DEFAULT_WIDTH,
        say: (text) => void process.stdout.write(text),
      });
      if (problem === undefined) return;
      process.stderr.write(`error: ${problem}\n`);
      process.exitCode = 1;
    });
}

/** Whoever reads may stop before the end, as `head` does. */
function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
}
