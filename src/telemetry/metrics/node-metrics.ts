import type { Counter, Registry } from 'prom-client';
import type { DurationMs } from '../../clock.ts';
import { counter, readGauge, seconds } from './declare.ts';

const HAND_OVERS = ['taken', 'given', 'reclaimed', 'overdue', 'refused'];

/** What is read about the node and the broker's place on it. */
export interface NodeSources {
  /** By how much the node's clock is ahead of the service's, in ms. */
  readonly clockSkew: () => DurationMs;
  readonly nodeCredentialsUsable: () => boolean;
  /** Until the node's credentials expire; undefined where they do not. */
  readonly nodeCredentialsLeft: () => DurationMs | undefined;
  readonly addressesExpected: () => number;
  readonly addressesBound: () => number;
  readonly connections: () => number;
}

/** The metrics of the node: its clock, credentials and addresses, and the brokers on it. */
export class NodeMetrics {
  readonly #registry: Registry;
  readonly handOvers: Counter<'result'>;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.handOvers = counter(registry, {
      name: 'pod_identity_broker_handovers_total',
      help: 'Hand-overs between brokers on this node: taken, given, reclaimed (the successor ended), overdue (the predecessor still runs), refused (another broker runs, and there is no hand-over)',
      labels: ['result'],
    });
    // There from the start, so that the first of each is an increase.
    for (const result of HAND_OVERS) this.handOvers.inc({ result }, 0);
  }

  /** Adds what is read whenever the metrics are. */
  observe(sources: NodeSources): void {
    const registry = this.#registry;
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_node_clock_ahead_seconds',
        help: 'By how much the clock of the node is ahead of the clock of EKS Auth, where that was found to matter',
      },
      () => seconds(sources.clockSkew()),
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_node_credentials_usable',
        help: '1 while the node has AWS credentials to call EKS Auth with',
      },
      () => Number(sources.nodeCredentialsUsable()),
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_node_credentials_expiry_seconds',
        help: 'Until the AWS credentials of the node expire; absent where they do not',
      },
      () => seconds(sources.nodeCredentialsLeft()),
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_addresses_expected',
        help: 'Addresses that pods are to be answered on',
      },
      sources.addressesExpected,
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_addresses_bound',
        help: 'Addresses that pods are answered on: listened on, and still on an interface of the node',
      },
      sources.addressesBound,
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_connections',
        help: 'Connections of pods that are open',
      },
      sources.connections,
    );
  }
}
