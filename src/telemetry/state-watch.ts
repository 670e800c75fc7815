import type { Clock, DurationMs, Timer } from '../clock.ts';
import type { Log } from './log.ts';
import type { Fault } from './repeated-faults.ts';

/** How often states are looked at. */
const INTERVAL: DurationMs = 1_000;

/** Something whose changes are worth a line. */
export interface WatchedState {
  /** What it is now. */
  read(): string;
  /** What to say of a change; nothing for one that goes without saying. */
  changed(now: string, before: string): Fault | undefined;
}

/**
 * Looks at states once a second and logs their changes, each once. What comes and goes
 * within a second is left to the lines about what it caused.
 */
export class StateWatch {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #states: readonly { readonly state: WatchedState; value: string }[];
  #timer: Timer | undefined;

  constructor(clock: Clock, log: Log, states: readonly WatchedState[]) {
    this.#clock = clock;
    this.#log = log;
    this.#states = states.map((state) => ({ state, value: state.read() }));
  }

  start(): void {
    this.#timer = this.#clock.setTimeout(() => {
      this.look();
      this.start();
    }, INTERVAL);
    this.#timer.unref();
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timer);
  }

  /** Logs what has changed since the last look. */
  look(): void {
    for (const watched of this.#states) {
      const before = watched.value;
      watched.value = watched.state.read();
      if (watched.value === before) continue;
      const said = watched.state.changed(watched.value, before);
      if (said !== undefined) this.#log[said.level](said.fields, said.message);
    }
  }
}
