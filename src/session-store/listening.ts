import type { Clock, DurationMs, Timer } from '../clock.ts';
import type { RedisClient } from './redis-client.ts';

/** How often a connection that only listens is asked whether it is still there. */
const PING_EVERY: DurationMs = 10_000;

/** What {@link Listening} is made from. */
export interface ListeningOptions {
  readonly clock: Clock;
  readonly client: RedisClient;
  readonly channel: string;
  readonly onMessage: (text: string) => void;
  /** It can be heard again: something may have been missed. */
  readonly onDeafened: () => void;
}

/** The connection on which brokers hear each other: one that subscribes can do nothing else. */
export class Listening {
  readonly #options: ListeningOptions;
  #hears = false;
  #heard = false;
  #timer: Timer | undefined;

  constructor(options: ListeningOptions) {
    this.#options = options;
    const { client, channel, onMessage } = options;
    client.on('ready', () => this.#subscribe());
    client.on('close', () => {
      this.#hears = false;
    });
    // Why it is away is told of the connection that is asked; this one has the same troubles.
    client.on('error', () => undefined);
    client.on('message', (from: string, text: string) => {
      if (from === channel) onMessage(text);
    });
  }

  /** Whether messages arrive now. */
  get hears(): boolean {
    return this.#hears;
  }

  /** Begins to connect, and goes on for as long as it takes. */
  start(): void {
    this.#options.client.connect().catch(() => undefined);
    this.#pingLater();
  }

  stop(): void {
    this.#options.clock.clearTimeout(this.#timer);
    this.#options.client.disconnect();
  }

  #subscribe(): void {
    const { client, channel, onDeafened } = this.#options;
    client.subscribe(channel).then(
      () => {
        this.#hears = true;
        if (this.#heard) onDeafened();
        this.#heard = true;
      },
      // The connection is lost again, and the next one subscribes.
      () => undefined,
    );
  }

  #pingLater(): void {
    const { clock, client } = this.#options;
    this.#timer = clock.setTimeout(() => {
      if (this.#hears) client.ping().catch(() => undefined);
      this.#pingLater();
    }, PING_EVERY);
    this.#timer.unref();
  }
}
