import {
  type Simulator,
  type SimulatorOptions,
  startSimulator,
} from '../../src/simulator/simulator.ts';

/** Starts a simulated EKS, which then goes by the request's `id`, or closes one. */
export type HostRequest = { readonly id: number } & (
  | { readonly start: SimulatorOptions }
  | { readonly close: number }
);

/** What has become of the request with this `id`. */
export interface HostAnswer {
  readonly id: number;
  /** Of the simulator that was started. */
  readonly url?: string;
  readonly error?: string;
}

// Simulated EKSs as a process. Each has a port and a state of its own. It ends when whoever has
// started it is gone.
const running = new Map<number, Simulator>();

process.on('message', (request: HostRequest) => {
  carryOut(request).then(
    (url) => process.send?.({ id: request.id, ...(url && { url }) } satisfies HostAnswer),
    (error: Error) => process.send?.({ id: request.id, error: error.message } satisfies HostAnswer),
  );
});
process.once('disconnect', () => process.exit());

async function carryOut(request: HostRequest): Promise<string | undefined> {
  if ('start' in request) {
    const simulator = await startSimulator(request.start);
    running.set(request.id, simulator);
    return simulator.url;
  }
  await running.get(request.close)?.close();
  running.delete(request.close);
  return undefined;
}
