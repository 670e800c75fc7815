import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { askBroker } from '../listener/admin-client.ts';
import type { Explanation } from '../sessions/explanation.ts';
import { adminSocketOption, reportingFailure } from './admin-option.ts';

interface ExplainFlags {
  adminSocket: string;
  tokenFile: string;
  json?: true;
}

/** Standard input, as a file descriptor. */
const STDIN = 0;

/**
 * `explain`: what the broker on this node would do with a token, and why. The token goes to
 * the broker over its admin socket, and nowhere else.
 */
export function explainCommand(): Command {
  return new Command('explain')
    .description('say step by step what the broker would do with a service account token')
    .requiredOption('--token-file <file>', "file with the token, as a pod's; -: standard input")
    .option('--json', 'as JSON')
    .addOption(adminSocketOption())
    .action(async ({ adminSocket, tokenFile, json }: ExplainFlags, command: Command) => {
      const token = readToken(tokenFile, command);
      await reportingFailure(async () => {
        const explanation = (await askBroker(adminSocket, 'POST', '/explain', {
          token,
        })) as Explanation;
        process.stdout.write(json ? `${JSON.stringify(explanation)}\n` : shown(explanation));
        if (!explanation.served) process.exitCode = 1;
      });
    });
}

function readToken(file: string, command: Command): string {
  let token: string;
  try {
    token = readFileSync(file === '-' ? STDIN : file, 'utf8').trim();
  } catch (error) {
    command.error(`error: --token-file cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  if (token === '') command.error('error: --token-file is empty');
  return token;
}

function shown({ steps, served }: Explanation): string {
  const lines = steps.map(({ step, ok, detail }) => {
    return `${ok ? 'ok' : 'NO'}  ${step.padEnd(10)}${detail}\n`;
  });
  return `${lines.join('')}\n${served ? 'it would be served' : 'it would not be served'}\n`;
}
