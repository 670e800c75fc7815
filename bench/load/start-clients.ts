import { fork } from 'node:child_process';
import { once } from 'node:events';
import { constants, setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Client, ClientResult } from './clients.ts';
import type { Address } from './one-try.ts';

/** What a process of clients is told. */
export interface ClientsTask {
  readonly target: Address;
  readonly clients: readonly Client[];
}

/** A process of clients that is ready to begin. */
export interface WaitingClients extends Disposable {
  /** Lets them run, and waits for all. */
  run(task: ClientsTask): Promise<ClientResult[]>;
}

/**
 * Starts a process for clients, at the lowest priority: it shares its core with the load that
 * is measured meanwhile, and must not be what that one waits for.
 */
export async function startClients(): Promise<WaitingClients> {
  const child = fork(fileURLToPath(new URL('clients-process.ts', import.meta.url)), {
    serialization: 'advanced',
  });
  await once(child, 'message');
  if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
  return {
    async run(task) {
      child.send(task);
      const [results] = (await once(child, 'message')) as [ClientResult[]];
      return results;
    },
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  };
}
