import { Command } from 'commander';
import { askBroker } from '../listener/admin-client.ts';
import type { FlushAnswer } from '../listener/admin-socket.ts';
import { adminSocketOption, reportingFailure } from './admin-option.ts';

interface FlushFlags {
  adminSocket: string;
  namespace?: string;
  serviceAccount?: string;
}

/** `flush`: has the broker on this node fetch sessions anew, for instance after a role changed. */
export function flushCommand(): Command {
  return new Command('flush')
    .description('let go of sessions, so that they are fetched anew when next asked for')
    .option('--namespace <name>', 'of this namespace only')
    .option('--service-account <name>', 'of this service account of the namespace only')
    .addOption(adminSocketOption())
    .action(async ({ adminSocket, ...chosen }: FlushFlags, command: Command) => {
      if (chosen.serviceAccount !== undefined && chosen.namespace === undefined) {
        command.error('error: --service-account needs --namespace');
      }
      await reportingFailure(async () => {
        const answer = await askBroker(adminSocket, 'POST', '/flush', chosen);
        const { flushed, reachedStore, reachedPredecessor } = answer as FlushAnswer;
        process.stdout.write(`${flushed} ${flushed === 1 ? 'session' : 'sessions'} flushed\n`);
        if (reachedStore === false) {
          process.stderr.write(
            'warning: Redis cannot be reached now; it is told as soon as it can be\n',
          );
        }
        if (reachedPredecessor === false) {
          process.stderr.write(
            'warning: the broker before this one does not answer; until it ends it may hand out what it holds\n',
          );
        }
      });
    });
}
