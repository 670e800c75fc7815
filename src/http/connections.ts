import { createHash } from 'node:crypto';
import type { Dispatcher } from 'undici';
import { createDispatcher, type DispatcherOptions } from './dispatcher.ts';

/** Whom a destination is trusted by, and how this side shows who it is. */
export interface TlsIdentity {
  /** CA certificates (PEM) instead of the usual ones. */
  readonly ca?: string | undefined;
  /** Certificate and key (PEM) to present. */
  readonly clientCertificate?: { readonly cert: string; readonly key: string } | undefined;
}

/**
 * Connections that are kept between requests: one set for all that trusts the usual CAs, and
 * one for a destination with a CA or a client certificate of its own (the API server), which
 * is replaced when those change.
 */
export class Connections {
  readonly #options: Omit<DispatcherOptions, 'clientCertificate'>;
  #usual: Dispatcher | undefined;
  #own: { readonly digest: string; readonly dispatcher: Dispatcher } | undefined;

  /** @param options - Of both sets; `ca` are the usual ones. */
  constructor(options: Omit<DispatcherOptions, 'clientCertificate'>) {
    this.#options = options;
  }

  /**
   * What carries requests to destinations that `identity` is for.
   *
   * @throws What {@link createDispatcher} fails with.
   */
  to({ ca, clientCertificate }: TlsIdentity = {}): Dispatcher {
    if (ca === undefined && clientCertificate === undefined) {
      this.#usual ??= createDispatcher(this.#options);
      return this.#usual;
    }
    const digest = createHash('sha256')
      .update(JSON.stringify([ca, clientCertificate]))
      .digest('hex');
    if (this.#own?.digest !== digest) {
      // Requests that are under way on the old set end there.
      void this.#own?.dispatcher.close();
      const dispatcher = createDispatcher({
        ...this.#options,
        ...(ca !== undefined && { ca }),
        clientCertificate,
      });
      this.#own = { digest, dispatcher };
    }
    return this.#own.dispatcher;
  }

  /** Drops all connections, with the requests on them. */
  async close(): Promise<void> {
    const open = [this.#usual, this.#own?.dispatcher];
    this.#usual = undefined;
    this.#own = undefined;
    await Promise.all(open.map((dispatcher) => dispatcher?.destroy()));
  }
}
