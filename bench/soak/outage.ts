import { setTimeout as pause } from 'node:timers/promises';
import type { DurationMs } from '../../src/clock.ts';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { Gate } from './gate.ts';
import type { Health } from './health.ts';
import type { Trouble } from './troubles.ts';

/** Between looks whether it is over. */
const LOOK_EVERY: DurationMs = 50;

/**
 * All of EKS refuses connections: the token issuer and the control API as well.
 *
 * @param issuer - The health of the issuer.
 */
export function outage(
  simulator: RemoteSimulator,
  gate: Gate,
  issuer: Health,
  recovery: DurationMs,
): Trouble {
  let over: Promise<void> = Promise.resolve();
  return {
    name: 'outage',
    recovery,
    begin: async (duration) => {
      issuer.falls();
      over = gate.closedFor(async () => {
        await simulator.outage(Math.ceil(duration));
        await pause(duration);
        while (!(await answers(simulator))) await pause(LOOK_EVERY);
      });
    },
    end: async () => {
      await over;
      issuer.rises(recovery);
    },
  };
}

async function answers(simulator: RemoteSimulator): Promise<boolean> {
  return await simulator.counts().then(
    () => true,
    () => false,
  );
}
