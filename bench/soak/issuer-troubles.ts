import type { DurationMs } from '../../src/clock.ts';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { Fault, ISSUER_FAULTS } from '../../src/simulator/faults.ts';
import type { Chance } from '../harness/chance.ts';
import type { Gate } from './gate.ts';
import type { Trouble } from './troubles.ts';

/** A fetch of keys that began in the last moment of a trouble is over by then. */
const RECOVERY: DurationMs = 3_000;

/** Makes a trouble of the token issuer, with everything about it that is left to chance. */
export function issuerTrouble(
  kind: (typeof ISSUER_FAULTS)[number],
  simulator: RemoteSimulator,
  gate: Gate,
  chance: Chance,
): Trouble {
  const document = chance.pick([undefined, 'configuration', 'keys'] as const);
  const fault: Fault = {
    service: 'issuer',
    kind,
    ...(document !== undefined && { document }),
    ...(kind === 'slow' && { delay: chance.between(300, 4_000) }),
    ...(kind === 'redirect' && { location: 'http://127.0.0.1:1/keys' }),
  };
  let id: string | undefined;
  return {
    name: `issuer ${kind}`,
    recovery: RECOVERY,
    begin: async () => {
      id = await gate.pass(() => simulator.faults.add(fault));
    },
    end: async () => {
      if (id !== undefined) await gate.pass(() => simulator.faults.clear(id));
    },
  };
}
