import type { Clock } from '../clock.ts';
import { answerBroken, pause } from './broken-answer.ts';
import type { Exchange } from './exchange.ts';
import type { Faults } from './faults.ts';
import type { IssuerKeys } from './issuer-keys.ts';

/** What the issuer's endpoint works with. */
export interface IssuerOptions {
  clock: Clock;
  /** The `iss` of tokens; its path is where it answers. */
  issuer: string;
  /** Published, and signed with. */
  keys: IssuerKeys;
  faults: Faults;
}

/**
 * The cluster's public issuer: OpenID discovery document and JWKS.
 *
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html
 */
export class Issuer {
  readonly #options: IssuerOptions;

  constructor(options: IssuerOptions) {
    this.#options = options;
  }

  /** Serves `<issuer>/.well-known/openid-configuration` and `<issuer>/keys`. */
  async serve(exchange: Exchange, document: 'configuration' | 'keys'): Promise<void> {
    const { clock, faults, keys } = this.#options;
    exchange.audit.operation = document === 'keys' ? 'GetKeys' : 'GetConfiguration';
    if (exchange.method !== 'GET') {
      exchange.audit.errorCode = 'MethodNotAllowed';
      return exchange.json(405, { message: 'Method Not Allowed' }, { Allow: 'GET' });
    }
    const fault = faults.meet('issuer', { document });
    if (fault !== undefined) exchange.audit.fault = fault.kind;
    if (fault?.kind === 'slow') await pause(exchange, clock, fault.delay ?? 1_000);
    const body = JSON.stringify(document === 'keys' ? keys.jwks() : this.#configuration());
    switch (fault?.kind) {
      case 'unavailable':
        exchange.audit.errorCode = 'ServiceUnavailable';
        return exchange.json(503, { message: 'Service Unavailable' });
      case 'not-found':
        exchange.audit.errorCode = 'NotFound';
        return exchange.json(404, { message: 'Not Found' });
      case 'redirect':
        exchange.audit.errorCode = 'Redirect';
        return exchange.send(
          302,
          { Location: fault.location ?? `${exchange.path}?redirected=true` },
          '',
        );
      default:
        if (fault !== undefined && answerBroken(exchange, fault, body)) return;
        exchange.send(200, { 'Content-Type': 'application/json' }, body);
    }
  }

  #configuration() {
    const { issuer, keys } = this.#options;
    const algorithms = new Set(keys.jwks().keys.map((key) => key.alg));
    return {
      issuer,
      jwks_uri: `${issuer}/keys`,
      authorization_endpoint: 'urn:kubernetes:programmatic_authorization',
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      claims_supported: ['sub', 'iss'],
      id_token_signing_alg_values_supported: [...algorithms],
    };
  }
}
