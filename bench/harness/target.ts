import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { Address } from '../load/one-try.ts';
import type { Bench } from '../scenario.ts';
import { startBroker } from './broker.ts';
import type { Variant } from './variants.ts';

/** Something that gives pods their credentials. */
export interface Target extends AsyncDisposable {
  readonly variant: Variant;
  readonly address: Address;
  /** Undefined for an agent that somebody else has started, unless `--peer-pid` names it. */
  readonly pid: number | undefined;
}

/** Starts our program in a scope; or gives the peer, which runs already and goes on running. */
export async function startTarget(
  bench: Pick<Bench, 'cores' | 'peer' | 'program' | 'tracing'>,
  variant: Variant,
  simulator: RemoteSimulator,
  flags: readonly string[] = [],
): Promise<Target> {
  if (variant === 'peer') {
    if (bench.peer === undefined) throw new TypeError('there is no peer');
    const { address, pid } = bench.peer;
    return { variant, address, pid, [Symbol.asyncDispose]: async () => undefined };
  }
  const broker = await startBroker(bench, simulator, {
    core: bench.cores?.target,
    flags: [`--session-scope=${variant}`, ...flags],
  });
  return {
    variant,
    address: broker.address,
    pid: broker.pid,
    [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
  };
}
