import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTLSServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Clock, DurationMs, Timer } from '../clock.ts';

/** Where to listen. */
export interface ListenerOptions {
  host: string;
  /** 0 for any free one. */
  port: number;
  /** PEM; plain HTTP without. */
  tls: { key: string; cert: string } | undefined;
  clock: Clock;
}

/** The simulator's one HTTP port, which can go away and come back. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #server: Server;
  #port: number = 0;
  #outage: Promise<void> | undefined;
  #reopening: Timer | undefined;
  #opening: Promise<void> | undefined;

  constructor(options: ListenerOptions, listener: RequestListener) {
    this.#options = options;
    const settings = { keepAliveTimeout: 60_000, maxHeaderSize: 32 * 1024 };
    this.#server =
      options.tls === undefined
        ? createServer(settings, listener)
        : createTLSServer({ ...settings, ...options.tls }, listener);
  }

  /** `http://host:port`, as clients on this machine reach it. */
  get url(): string {
    const { host, tls } = this.#options;
    const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
    const shown = reachable.includes(':') ? `[${reachable}]` : reachable;
    return `${tls === undefined ? 'http' : 'https'}://${shown}:${this.#port}`;
  }

  /** Listens; the port stays the same from then on. */
  open(): Promise<void> {
    this.#opening = this.#listen();
    return this.#opening;
  }

  /** Refuses connections and drops those that there are; {@link open} undoes it. */
  async shut(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  /**
   * Shuts, and opens again after `duration`.
   *
   * @returns When it is shut; {@link recovered} tells when it is open again.
   */
  async outage(duration: DurationMs): Promise<void> {
    const { clock } = this.#options;
    clock.clearTimeout(this.#reopening);
    await this.shut();
    this.#outage = new Promise((resolve) => {
      this.#reopening = clock.setTimeout(() => resolve(this.open()), duration);
    });
  }

  /** Shuts for good. */
  async close(): Promise<void> {
    this.#options.clock.clearTimeout(this.#reopening);
    await this.#opening?.catch(() => undefined);
    await this.shut();
  }

  /** Resolves when the latest {@link outage} is over. */
  async recovered(): Promise<void> {
    await this.#outage;
  }

  async #listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port || this.#options.port, this.#options.host, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#port = (this.#server.address() as AddressInfo).port;
  }
}
