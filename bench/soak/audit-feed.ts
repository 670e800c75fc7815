import type { DurationMs, EpochMs } from '../../src/clock.ts';
import type { AuditEvent } from '../../src/simulator/audit.ts';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { Gate } from './gate.ts';
import { sleep } from './sleep.ts';

const POLL_EVERY: DurationMs = 400;

/** Reads the simulator's audit log as it grows: each call once, when it has ended. */
export class AuditFeed {
  readonly #simulator: RemoteSimulator;
  readonly #gate: Gate;
  readonly #onEvents: (events: readonly AuditEvent[], until: EpochMs) => void;
  #sequence = 0;

  /**
   * @param onEvents - Called with new calls, and the time up to which there are no others.
   */
  constructor(
    simulator: RemoteSimulator,
    gate: Gate,
    onEvents: (events: readonly AuditEvent[], until: EpochMs) => void,
  ) {
    this.#simulator = simulator;
    this.#gate = gate;
    this.#onEvents = onEvents;
  }

  /** Reads until it is told to stop. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(POLL_EVERY, signal);
      await this.read();
    }
  }

  /** Reads what has come since the last time. */
  async read(): Promise<void> {
    const { until, events } = await this.#gate.pass(async () => ({
      until: Date.now() - 1,
      events: await this.#simulator.audit.events({ after: this.#sequence }),
    }));
    this.#sequence = events.at(-1)?.sequence ?? this.#sequence;
    this.#onEvents(events, until);
  }
}
