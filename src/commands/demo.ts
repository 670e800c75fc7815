import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { reader } from '../config/flag-reader.ts';
import { wholeNumber } from '../config/values.ts';
import type { Demo } from '../simulator/demo/demo.ts';

/** Each pod is a process. */
const MAX_PODS = 1_000;
const count = reader(wholeNumber(1, MAX_PODS));
const DEFAULT_PODS = 50;
const DEFAULT_SERVICE_ACCOUNTS = 5;

interface Flags {
  pods: number;
  serviceAccounts?: number;
  netns?: boolean;
  keep?: boolean;
  trace?: string;
}

const DEFAULT_PAGE = 'trace.html';

/** Exit status by the signal that ended the demo early, as shells have it. */
const INTERRUPTED = { SIGHUP: 129, SIGINT: 130, SIGPIPE: 141, SIGTERM: 143 } as const;

/** `demo`: pods of a simulated EKS get their identity from a broker, with the real AWS SDK. */
export function demoCommand(): Command {
  return new Command('demo')
    .description('run a simulated EKS, the broker and pods with the real AWS SDK')
    .option('--pods <count>', 'pods to run, each a process', count, DEFAULT_PODS)
    .option(
      '--service-accounts <count>',
      `service accounts of the pods (default: ${DEFAULT_SERVICE_ACCOUNTS}, or a pod each)`,
      count,
    )
    .option('--netns', 'node and pods as network namespaces, on the real addresses (root)')
    .option('--keep', 'leave all running, and print what makes a shell one of the pods')
    .addOption(
      new Option(
        '--trace [file]',
        "make a page of the broker's traces, and beside it a file of them, .jsonl",
      )
        .preset(DEFAULT_PAGE)
        .argParser(pageName),
    )
    .action(async (flags: Flags, command: Command) => {
      const { pods, netns = false, keep = false } = flags;
      const page = flags.trace === undefined ? undefined : resolve(flags.trace);
      const traceFile = page?.replace(/\.html$/, '.jsonl');
      const serviceAccounts = flags.serviceAccounts ?? Math.min(DEFAULT_SERVICE_ACCOUNTS, pods);
      if (serviceAccounts > pods) {
        command.error(
          `error: --service-accounts is ${serviceAccounts}, more than --pods (${pods})`,
        );
      }
      const signal = interruption();
      try {
        if (netns) await requireNamespaces();
        const { runDemo } = await import('../simulator/demo/demo.ts');
        if (traceFile !== undefined) await requireWritable(traceFile, page as string);
        const demo = await runDemo({ pods, serviceAccounts, netns, traceFile, signal, say });
        await show(demo, keep, signal).finally(() => demo.close());
        if (traceFile !== undefined) await makePage(traceFile, page as string);
      } catch (error) {
        if (signal.aborted)
          process.exitCode = INTERRUPTED[signal.reason as keyof typeof INTERRUPTED];
        else fail((error as Error).message);
      }
    });
}

/** Prints how it came out, and with `keep` waits to be told to stop. */
async function show(demo: Demo, keep: boolean, signal: AbortSignal): Promise<void> {
  const { failure, summary, table } = await import('../simulator/demo/report.ts');
  say(`\n${table(demo.reports)}\n\n${summary(demo.reports)}`);
  const reason = failure(demo.reports);
  if (reason !== undefined) fail(reason);
  if (!keep) return;
  say(`\n${demo.instructions}\nAll goes on running until Ctrl-C.`);
  if (!signal.aborted) await Promise.race([once(signal, 'abort'), demo.lost]);
}

/** Says at once what would be in the way at the end. */
async function requireWritable(...files: readonly string[]): Promise<void> {
  for (const file of files) {
    await writeFile(file, '').catch((error: Error) => {
      throw new Error(`--trace: ${error.message}`);
    });
  }
}

/** The broker has ended, and with it come the last of its traces. */
async function makePage(traceFile: string, page: string): Promise<void> {
  const { writeTracePage } = await import('../traces/page.ts');
  const { traces, spans } = await writeTracePage(traceFile, page, { title: 'Traces of the demo' });
  say(`\n${traces} traces of ${spans} spans: ${page}\nThe same as text: traces ${traceFile}`);
}

/** The page's name, which that of the traces is made from. */
function pageName(name: string): string {
  if (name.endsWith('.html')) return name;
  throw new InvalidArgumentError('It must end in .html.');
}

async function requireNamespaces(): Promise<void> {
  const { namespacesProblem } = await import('../simulator/netns.ts');
  const problem = namespacesProblem();
  if (problem !== undefined) throw new Error(`--netns: ${problem}`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function fail(reason: string): void {
  process.stderr.write(`error: ${reason}\n`);
  process.exitCode = 1;
}

/** Aborted, with the signal's name, by the first signal that asks the process to end. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) {
    // Those that follow change nothing: what was started still has to be taken away.
    process.on(name, () => controller.abort(name));
  }
  // What SIGPIPE is for other programs. The signal itself comes for any pipe, such as a pod's.
  process.stdout.on('error', () => controller.abort('SIGPIPE'));
  return controller.signal;
}
