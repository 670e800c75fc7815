import { fileURLToPath } from 'node:url';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import { type Broker, startBroker } from '../harness/broker.ts';
import type { Timing } from './timing.ts';
import { OWN } from './world.ts';

/** The sources, which `npm run soak` need not build. */
const PROGRAM = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Small enough that tokens have to make room for others. */
const MAX_VERIFIED_TOKENS = 64;

/** Starts the broker under test on a node of a simulated cluster, and waits until it is ready. */
export function startSoakBroker(simulator: RemoteSimulator, timing: Timing): Promise<Broker> {
  return startBroker({ program: PROGRAM, tracing: undefined }, simulator, {
    flags: [
      `--pod-scope=${OWN}`,
      `--max-verified-tokens=${MAX_VERIFIED_TOKENS}`,
      `--client-wait=${timing.clientWait}ms`,
      `--attempt-timeout=${timing.attemptTimeout}ms`,
      `--flight-timeout=${timing.flightTimeout}ms`,
    ],
  });
}
