import { SESSION_SCOPES, type SessionScope } from '../../src/config/config.ts';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { Address } from '../load/one-try.ts';
import type { Colour } from '../report/chart.ts';
import type { Bench } from '../scenario.ts';
import { startBroker } from './broker.ts';

/** What is measured side by side: our program by scope, and another agent where one was named. */
export type Variant = SessionScope | 'peer';

/** The variants of a run. */
export function variants({ peer }: Pick<Bench, 'peer'>): Variant[] {
  return [...SESSION_SCOPES, ...(peer === undefined ? [] : (['peer'] as const))];
}

/** How a variant is labelled: `token` is the baseline, and says what it is not. */
export const VARIANT_LABEL: Readonly<Record<Variant, string>> = {
  'service-account': 'service-account scope',
  pod: 'pod scope',
  token: "token scope (the existing agent's key up to 0.1.x)",
  peer: 'peer',
};

/** Something that gives pods their credentials. */
export interface Target extends AsyncDisposable {
  readonly variant: Variant;
  readonly colour: Colour;
  readonly address: Address;
  /** Undefined for an agent that somebody else has started. */
  readonly pid: number | undefined;
}

/** Starts our program in a scope; or gives the peer, which runs already and goes on running. */
export async function startTarget(
  { cores, peer, program }: Pick<Bench, 'cores' | 'peer' | 'program'>,
  variant: Variant,
  simulator: RemoteSimulator,
  flags: readonly string[] = [],
): Promise<Target> {
  if (variant === 'peer') {
    if (peer === undefined) throw new TypeError('there is no peer');
    const leave = async () => undefined;
    const { address } = peer;
    return { variant, colour: 'peer', address, pid: undefined, [Symbol.asyncDispose]: leave };
  }
  const broker = await startBroker(simulator, {
    program,
    core: cores?.target,
    flags: [`--session-scope=${variant}`, ...flags],
  });
  return {
    variant,
    colour: variant,
    address: broker.address,
    pid: broker.pid,
    [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
  };
}
