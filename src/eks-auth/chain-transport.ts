import type { HttpHandler, HttpRequest, HttpResponse } from '@smithy/core/protocols';
import type { HttpHandlerOptions } from '@smithy/types';
import type { Clock, DurationMs } from '../clock.ts';
import type { Environment } from '../http/proxy.ts';
import type { UndiciTransport } from './transport.ts';

/** Time-out of one request to STS or SSO; the SDK makes up to three. */
const REQUEST_TIMEOUT: DurationMs = 5_000;
/** The chain makes one request after another. */
const CONNECTIONS = 2;

/** Input of {@link ChainTransport}. */
export interface ChainTransportOptions {
  /** The proxy variables to follow. Default: none. */
  readonly environment?: Environment | undefined;
  /** Certificates (PEM) to trust instead of the system's roots. */
  readonly caBundle?: string | undefined;
  /** Time-out of a connection, including TLS. Default: 1 s. */
  readonly connectTimeout?: DurationMs | undefined;
  /** Default is the real time. */
  readonly clock?: Clock | undefined;
}

/**
 * The request handler for the SDK clients that the credential chain creates (STS and SSO). The SDK's
 * own handler supports neither proxies nor `AWS_CA_BUNDLE`. On most nodes the chain only asks a
 * metadata service, so undici is loaded with the first request.
 */
export class ChainTransport implements HttpHandler<object> {
  readonly metadata = { handlerProtocol: 'http/1.1' };
  readonly #options: ChainTransportOptions;
  #transport: UndiciTransport | undefined;

  constructor(options: ChainTransportOptions) {
    this.#options = options;
  }

  async handle(
    request: HttpRequest,
    options?: HttpHandlerOptions,
  ): Promise<{ response: HttpResponse }> {
    const transport = this.#transport ?? (await this.#connect());
    return await transport.handle(request, options);
  }

  updateHttpClientConfig(): void {
    // The SDK's clients have nothing to set here.
  }

  httpHandlerConfigs(): object {
    return {};
  }

  async #connect(): Promise<UndiciTransport> {
    const [{ createDispatcher }, { UndiciTransport }] = await Promise.all([
      import('../http/dispatcher.ts'),
      import('./transport.ts'),
    ]);
    const { environment: env, caBundle: ca, connectTimeout, clock } = this.#options;
    this.#transport ??= new UndiciTransport({
      dispatcher: createDispatcher({ env, ca, connectTimeout, connections: CONNECTIONS }),
      attemptTimeout: REQUEST_TIMEOUT,
      clock,
    });
    return this.#transport;
  }
}
