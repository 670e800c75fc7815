import { runClients } from './clients.ts';
import type { LoadTask } from './start-load.ts';
import { steadyHits } from './steady-hits.ts';

// A load as a process of its own. One task in, one message with the results out.
process.once('message', (task) => {
  void carryOut(task as LoadTask).then((results) => {
    process.send?.(results, () => process.exit());
  });
});
// Whoever has started it is gone.
process.once('disconnect', () => process.exit());
process.send?.('ready');

function carryOut(task: LoadTask) {
  return task.kind === 'clients' ? runClients(task.target, task.clients) : steadyHits(task);
}
