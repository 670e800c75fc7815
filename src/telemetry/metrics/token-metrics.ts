import type { Counter, Registry } from 'prom-client';
import type { DurationMs } from '../../clock.ts';
import { counter, readGauge, seconds } from './declare.ts';

/** What is read off the verified tokens and the keys they are verified under. */
export interface TokenSources {
  readonly verifiedTokens: () => number;
  readonly verifiedTokensCapacity: number;
  readonly keysUsable: () => boolean;
  readonly keysProven: () => boolean;
  readonly keysUnconfirmedFor: () => DurationMs | undefined;
}

/** The metrics of tokens and of the issuer's keys. */
export class TokenMetrics {
  readonly #registry: Registry;
  readonly localValidation: Counter<'result'>;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.localValidation = counter(registry, {
      name: 'pod_identity_local_validation',
      help: 'Tokens judged on the node: verified (success), refused (failure), left to EKS Auth (skipped)',
      labels: ['result'],
    });
  }

  /** Adds what is read whenever the metrics are. */
  observe(sources: TokenSources): void {
    const registry = this.#registry;
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_verified_tokens',
        help: 'Verified tokens remembered',
      },
      sources.verifiedTokens,
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_verified_tokens_capacity',
        help: 'Verified tokens that can be remembered at once (--max-verified-tokens)',
      },
      () => sources.verifiedTokensCapacity,
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_keys_usable',
        help: '1 while there are keys of the token issuer to verify under',
      },
      () => Number(sources.keysUsable()),
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_keys_proven',
        help: '1 once a token has verified under these keys, so that what does not verify is refused',
      },
      () => Number(sources.keysProven()),
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_keys_unconfirmed_seconds',
        help: 'Since a source last confirmed the keys; absent while there are none',
      },
      () => seconds(sources.keysUnconfirmedFor()),
    );
  }
}
