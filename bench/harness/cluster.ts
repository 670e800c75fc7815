import { connectSimulator, type RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { Settings } from '../../src/simulator/settings.ts';
import type { SimulatorOptions } from '../../src/simulator/simulator.ts';
import type { Bench } from '../scenario.ts';
import { hostSimulator } from './simulator-host.ts';

/** A simulated EKS. */
export interface Cluster extends AsyncDisposable {
  readonly simulator: RemoteSimulator;
}

/** Starts a simulated EKS, in a process on the core of the load that all of them share. */
export async function startCluster(options: SimulatorOptions): Promise<Cluster> {
  const { url, close } = await hostSimulator(options);
  return { simulator: await connectSimulator(url), [Symbol.asyncDispose]: close };
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
