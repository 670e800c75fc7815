import type { Clock, DurationMs, Timer } from '../clock.ts';

/** `open`: Redis is not asked. `half-open`: it is tried out. */
export type CircuitState = 'closed' | 'open' | 'half-open';

/** Redis is not asked now; `message` says why. */
export class CircuitOpenError extends Error {
  override readonly name = 'CircuitOpenError';
  readonly code = 'ERR_REDIS_CIRCUIT_OPEN';
}

/** Failures in a row that open the circuit; a connection that is lost opens it at once. */
const MAX_FAILURES = 3;
/**
 * The pause before Redis is tried out again; doubled with each time that it opens, until a
 * command has succeeded: a probe that does is not enough where all else fails.
 */
const MIN_PAUSE: DurationMs = 500;
const MAX_PAUSE: DurationMs = 5_000;

/** What {@link Circuit} is made from. */
export interface CircuitOptions {
  readonly clock: Clock;
  /** Does what has to work for Redis to be of use; rejects when it does not. */
  readonly probe: () => Promise<unknown>;
  /** A number from 0 to 1: many brokers must not come back all at once. */
  readonly random: () => number;
  readonly onChange: (state: CircuitState) => void;
}

/**
 * Keeps a Redis that is away, hangs or refuses from being waited for: after a few failures
 * nothing is asked of it any more, until a probe from time to time finds it well.
 */
export class Circuit {
  readonly #options: CircuitOptions;
  #state: CircuitState = 'open';
  #reason = 'not connected yet';
  #failures = 0;
  #pause = MIN_PAUSE;
  #connected = false;
  #untried = true;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: CircuitOptions) {
    this.#options = options;
  }

  get state(): CircuitState {
    return this.#state;
  }

  /** Why it is open; the last reason there was, otherwise. */
  get reason(): string {
    return this.#reason;
  }

  /** Nothing has failed or worked yet: it is open because the broker has only just started. */
  get untried(): boolean {
    return this.#untried;
  }

  /** A command was answered as it should be. */
  succeeded(): void {
    this.#failures = 0;
    this.#pause = MIN_PAUSE;
  }

  /** A command failed, or was not answered in time. */
  failed(reason: string): void {
    if (this.#state !== 'closed') return;
    this.#failures += 1;
    if (this.#failures >= MAX_FAILURES) this.#open(reason);
  }

  /** There is a connection: Redis is tried out at once. */
  connected(): void {
    this.#connected = true;
    if (this.#state === 'open') this.#tryOut();
  }

  /** The connection is lost, or cannot be had. */
  disconnected(reason: string): void {
    this.#connected = false;
    this.#untried = false;
    if (this.#state === 'open') this.#reason = reason;
    else this.#open(reason);
  }

  /** There is no way to Redis so far: it goes on being looked for. */
  unreachable(reason: string): void {
    if (!this.#connected) this.disconnected(reason);
  }

  /** Tries nothing out any more. */
  stop(): void {
    this.#stopped = true;
    this.#options.clock.clearTimeout(this.#timer);
  }

  #open(reason: string): void {
    this.#untried = false;
    this.#reason = reason;
    this.#set('open');
    this.#tryLater();
  }

  #tryLater(): void {
    const { clock, random } = this.#options;
    clock.clearTimeout(this.#timer);
    if (this.#stopped || !this.#connected) return;
    const pause = this.#pause * (1 + random());
    this.#pause = Math.min(MAX_PAUSE, this.#pause * 2);
    this.#timer = clock.setTimeout(() => this.#tryOut(), pause);
    this.#timer.unref();
  }

  #tryOut(): void {
    const { clock, probe } = this.#options;
    clock.clearTimeout(this.#timer);
    if (this.#stopped || this.#state !== 'open' || !this.#connected) return;
    this.#set('half-open');
    probe().then(
      () => {
        // It may have been lost meanwhile.
        if (this.#state !== 'half-open') return;
        this.#failures = 0;
        this.#untried = false;
        this.#set('closed');
      },
      (error: Error) => {
        if (this.#state === 'half-open') this.#open(error.message);
      },
    );
  }

  #set(state: CircuitState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onChange(state);
  }
}
