import { fileURLToPath } from 'node:url';
import { connectSimulator, type RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { Settings } from '../../src/simulator/settings.ts';
import type { SimulatorOptions } from '../../src/simulator/simulator.ts';
import { testOutputEnvironment } from '../../src/simulator/test-output.ts';
import type { Bench } from '../scenario.ts';
import { ready, startChild } from './child.ts';

/** A simulated EKS. */
export interface Cluster extends AsyncDisposable {
  readonly simulator: RemoteSimulator;
}

/** Starts a simulated EKS in a process of its own, on the core of the load. */
export async function startCluster(options: SimulatorOptions): Promise<Cluster> {
  const program = fileURLToPath(new URL('../servers/simulator.ts', import.meta.url));
  const child = startChild([process.execPath, program, JSON.stringify(options)], {
    env: testOutputEnvironment,
  });
  let url: string | undefined;
  await ready(child, 'the simulator', async () => {
    url = /^(http:\S+)\n/.exec(child.output())?.[1];
    return url !== undefined;
  });
  return {
    simulator: await connectSimulator(url as string),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

/**
 * A simulated EKS for one part of a run. With a peer it is the one that the peer uses, which
 * goes on running afterwards.
 *
 * @param settings - Of EKS Auth; what is left out is as the simulator has it by default.
 */
export async function clusterFor(
  { config, peer }: Pick<Bench, 'config' | 'peer'>,
  settings: Partial<Settings> = {},
): Promise<Cluster> {
  if (peer === undefined) return await startCluster({ seed: config.seed, ...settings });
  const simulator = await connectSimulator(peer.simulator);
  // Nothing of a turn before, or of a run that was broken off, is left in it.
  const set = async (to: Partial<Settings>) => {
    await simulator.faults.clear();
    await simulator.eksAuth.set({ latency: 0, quota: null, ...to });
  };
  await set(settings);
  return { simulator, [Symbol.asyncDispose]: () => set({}) };
}
