import { recordHeartbeat, startHeartbeats, withHeartbeats } from '../../src/workers/heartbeats.ts';
import { settings } from '../../src/workers/settings.ts';
import type { VerifyTask } from '../../src/workers/verify.ts';

// Tasks of a worker thread that do what no task should. The token says what.

startHeartbeats();

export function ping(): true {
  return true;
}

/** How many tasks this thread has begun. */
let begun = 0;

export const verify = withHeartbeats(async ({ tokens }: VerifyTask): Promise<unknown[]> => {
  return tokens.map(one);
});

function one(token: string): unknown {
  begun += 1;
  recordHeartbeat();
  const [what, once] = token.split(' ');
  if (once === 'once' && !isFirst()) return { token };
  switch (what) {
    case 'throw':
      throw new Error('thrown by the task');
    case 'exit':
      return process.exit(7);
    case 'busy':
      for (const until = performance.now() + 10; performance.now() < until; );
      return { token };
    case 'hang':
      for (;;);
    case 'memory':
      for (const held: unknown[] = []; ; ) held.push(new Array(1_000_000).fill(held.length + 0.5));
    default:
      return { token, begun, clusterName: settings().clusterName };
  }
}

/** Whether no thread was here before; told in a slot of shared memory that none beats in. */
function isFirst(): boolean {
  const slots = new Int32Array(settings().heartbeats);
  return Atomics.exchange(slots, slots.length - 1, 1) === 0;
}
