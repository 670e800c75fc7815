import { fileURLToPath } from 'node:url';
import { connectSimulator, type RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { SimulatorOptions } from '../../src/simulator/simulator.ts';
import { type Child, ready, startChild } from '../harness/child.ts';

const PROGRAM = fileURLToPath(new URL('../servers/simulator.ts', import.meta.url));

/** A simulated EKS in a process of its own. */
export interface Cluster {
  readonly simulator: RemoteSimulator;
  readonly process: Child;
}

/** Starts a simulated EKS. */
export async function startCluster(options: SimulatorOptions): Promise<Cluster> {
  const child = startChild([process.execPath, PROGRAM, JSON.stringify(options)]);
  let url = '';
  await ready(child, 'the simulator', async () => {
    url = /^(http:\S+)\n/.exec(child.output())?.[1] ?? '';
    return url !== '';
  });
  return { simulator: await connectSimulator(url), process: child };
}
