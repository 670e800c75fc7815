import { fileURLToPath } from 'node:url';
import type { SimulatorOptions } from '../../src/simulator/simulator.ts';
import { testOutputEnvironment } from '../../src/simulator/test-output.ts';
import type { HostAnswer, HostRequest } from '../servers/simulator.ts';
import { type Child, startChild } from './child.ts';

/** A simulated EKS in the host's process. */
export interface HostedSimulator {
  readonly url: string;
  /** Ends it; the process stays for the next one. */
  close(): Promise<void>;
}

let host: SimulatorHost | undefined;

/**
 * Starts a simulated EKS, with a state of its own, in the one process that hosts all of a run: to
 * start Node.js for each would take longer than some scenarios. The process ends with this one.
 *
 * @throws Error - The host has ended, or could not start the simulator.
 */
export async function hostSimulator(options: SimulatorOptions): Promise<HostedSimulator> {
  if (host === undefined || host.ended) host = new SimulatorHost();
  const owner = host;
  const { id, url } = await owner.ask({ start: options });
  return { url: url as string, close: async () => void (await owner.ask({ close: id })) };
}

/** The process, and who waits for its answers. */
class SimulatorHost {
  readonly #child: Child;
  readonly #waiting = new Map<number, PromiseWithResolvers<HostAnswer>>();
  #lastId = 0;

  constructor() {
    const program = fileURLToPath(new URL('../servers/simulator.ts', import.meta.url));
    this.#child = startChild([process.execPath, program], {
      env: testOutputEnvironment,
      messages: true,
    });
    const { process: child } = this.#child;
    child.on('message', (answer) => this.#answered(answer as HostAnswer));
    child.once('exit', () => this.#lost());
    child.once('error', () => this.#lost());
    // As long as nobody waits for it, it keeps nobody from ending.
    child.unref();
    child.channel?.unref();
  }

  get ended(): boolean {
    return this.#child.ended();
  }

  async ask(wanted: { start: SimulatorOptions } | { close: number }): Promise<HostAnswer> {
    const id = ++this.#lastId;
    const { process: child } = this.#child;
    const waiting = Promise.withResolvers<HostAnswer>();
    this.#waiting.set(id, waiting);
    child.channel?.ref();
    child.send({ id, ...wanted } satisfies HostRequest, (error) => {
      if (error !== null) this.#lost();
    });
    const answer = await waiting.promise;
    if (answer.error !== undefined) throw new Error(`the simulator: ${answer.error}`);
    return answer;
  }

  #answered(answer: HostAnswer): void {
    this.#waiting.get(answer.id)?.resolve(answer);
    this.#waiting.delete(answer.id);
    if (this.#waiting.size === 0) this.#child.process.channel?.unref();
  }

  #lost(): void {
    for (const { reject } of this.#waiting.values()) {
      reject(new Error(`the process of the simulators has ended:\n${this.#child.output()}`));
    }
    this.#waiting.clear();
  }
}
