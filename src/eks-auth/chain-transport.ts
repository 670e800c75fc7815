import type { HttpHandler, HttpRequest, HttpResponse } from '@smithy/core/protocols';
import type { HttpHandlerOptions } from '@smithy/types';
import type { Clock, DurationMs } from '../clock.ts';
import type { Environment } from '../http/proxy.ts';
import type { UndiciTransport } from './transport.ts';

/** For one request to STS or SSO; the SDK makes up to three. */
const REQUEST_TIMEOUT: DurationMs = 5_000;
/** The chain makes its requests one after the other. */
const CONNECTIONS = 2;

/** Input of {@link ChainTransport}. */
export interface ChainTransportOptions {
  /** The proxy and CA variables that are followed. Default is none. */
  readonly environment?: Environment | undefined;
  /** How long a connection may take, TLS included. Default is 1 s. */
  readonly connectTimeout?: DurationMs | undefined;
  /** Default is the real time. */
  readonly clock?: Clock | undefined;
}

/**
 * The request handler of the clients that the SDK's credential chain makes for itself (STS and
 * SSO): its own knows neither proxies nor `AWS_CA_BUNDLE`. On most nodes the chain asks a
 * metadata service alone, so connections are loaded and made with the first request.
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
    const { environment: env, connectTimeout, clock } = this.#options;
    this.#transport ??= new UndiciTransport({
      dispatcher: createDispatcher({ env, connectTimeout, connections: CONNECTIONS }),
      attemptTimeout: REQUEST_TIMEOUT,
      clock,
    });
    return this.#transport;
  }
}
