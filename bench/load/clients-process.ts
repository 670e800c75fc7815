import { runClients } from './clients.ts';
import type { ClientsTask } from './start-clients.ts';

// Clients as a process of their own, for when their work must not hold up what another load
// measures. One task in, one message with the results out.
process.once('message', (task) => {
  const { target, clients } = task as ClientsTask;
  void runClients(target, clients).then((results) => {
    process.send?.(results, () => process.exit());
  });
});
process.send?.('ready');
