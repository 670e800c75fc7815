import type { Redis } from 'ioredis';
import type { Clock, DurationMs, Timer } from '../clock.ts';
import { errorCode } from './redis-link.ts';

/** How often a connection that only listens is asked whether it is still there. */
const PING_EVERY: DurationMs = 10_000;
/** The pause before a subscription that was refused is tried again. */
const RETRY_AFTER: DurationMs = 5_000;

/** What {@link Subscriber} is made from. */
export interface SubscriberOptions {
  readonly clock: Clock;
  /** To one server; in a Redis Cluster every node passes on what is published on any. */
  readonly client: Redis;
  readonly channel: string;
  readonly onMessage: (text: string) => void;
  /** It hears from now on: whatever was announced before may have been missed. */
  readonly onSubscribed: () => void;
  /** It does not hear any more. */
  readonly onDeafened: () => void;
}

/** The connection on which brokers hear each other: one that subscribes can do nothing else. */
export class Subscriber {
  readonly #options: SubscriberOptions;
  #hears = false;
  #deafSince: DurationMs;
  #reason = 'not connected yet';
  #ping: Timer | undefined;
  #retry: Timer | undefined;

  constructor(options: SubscriberOptions) {
    this.#options = options;
    const { client, channel, onMessage, clock } = options;
    this.#deafSince = clock.elapsed();
    client.on('ready', () => this.#subscribe());
    client.on('close', () => this.#deafened());
    client.on('error', (error: Error) => {
      this.#reason = errorCode(error);
    });
    client.on('message', (from: string, text: string) => {
      if (from === channel) onMessage(text);
    });
  }

  /** Whether announcements arrive now. */
  get hears(): boolean {
    return this.#hears;
  }

  /** Since when they do not, by {@link Clock.elapsed}; undefined while they do. */
  get deafSince(): DurationMs | undefined {
    return this.#hears ? undefined : this.#deafSince;
  }

  /** Why they do not; the last reason there was, otherwise. */
  get reason(): string {
    return this.#reason;
  }

  /** Begins to connect, and goes on for as long as it takes. */
  start(): void {
    // The client tries again by itself, and tells its listeners why it failed.
    this.#options.client.connect().catch(() => undefined);
    this.#pingLater();
  }

  stop(): void {
    const { clock, client } = this.#options;
    clock.clearTimeout(this.#ping);
    clock.clearTimeout(this.#retry);
    client.disconnect();
  }

  #subscribe(): void {
    const { client, clock, channel, onSubscribed } = this.#options;
    client.subscribe(channel).then(
      () => {
        this.#hears = true;
        onSubscribed();
      },
      (error: Error) => {
        this.#reason = errorCode(error);
        // Where the connection is lost, the next one subscribes; where the ACL forbids it, that
        // can be put right.
        clock.clearTimeout(this.#retry);
        this.#retry = clock.setTimeout(() => {
          if (client.status === 'ready') this.#subscribe();
        }, RETRY_AFTER);
        this.#retry.unref();
      },
    );
  }

  #deafened(): void {
    const { clock, onDeafened } = this.#options;
    clock.clearTimeout(this.#retry);
    if (!this.#hears) return;
    this.#hears = false;
    this.#deafSince = clock.elapsed();
    this.#reason = 'connection closed';
    onDeafened();
  }

  #pingLater(): void {
    const { clock, client } = this.#options;
    this.#ping = clock.setTimeout(() => {
      // A connection that does not answer is closed by its time-out.
      if (this.#hears) client.ping().catch(() => undefined);
      this.#pingLater();
    }, PING_EVERY);
    this.#ping.unref();
  }
}
