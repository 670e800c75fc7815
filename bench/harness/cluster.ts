import { fileURLToPath } from 'node:url';
import { connectSimulator, type RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { SimulatorOptions } from '../../src/simulator/simulator.ts';
import { type Child, ready, startChild } from './child.ts';

/** A simulated EKS in a process of its own. */
export interface Cluster extends AsyncDisposable {
  readonly simulator: RemoteSimulator;
  readonly process: Child;
}

/** Starts a simulated EKS, on the core of the load. */
export async function startCluster(options: SimulatorOptions): Promise<Cluster> {
  const program = fileURLToPath(new URL('../servers/simulator.ts', import.meta.url));
  const child = startChild([process.execPath, program, JSON.stringify(options)]);
  let url: string | undefined;
  await ready(child, 'the simulator', async () => {
    url = /^(http:\S+)\n/.exec(child.output())?.[1];
    return url !== undefined;
  });
  return {
    simulator: await connectSimulator(url as string),
    process: child,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}
