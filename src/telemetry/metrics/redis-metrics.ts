import { Counter, Gauge, type Registry } from 'prom-client';

/** Redis as it is now; undefined where the broker goes without. */
export interface RedisFigures {
  readonly circuit: 'closed' | 'open' | 'half-open';
  readonly writesWaiting: number;
  /** Whether announcements of other brokers are heard; undefined where there are none. */
  readonly subscribed: boolean | undefined;
}

/** The metrics of sessions in Redis; without `--redis-url` they have no values. */
export class RedisMetrics {
  readonly commands: Counter<'command' | 'result'>;
  readonly entriesLoaded: Counter;
  readonly entriesRejected: Counter<'reason'>;
  readonly leases: Counter<'outcome'>;
  readonly writesDropped: Counter;
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
    const registers = [registry];
    this.commands = new Counter({
      name: 'pod_identity_broker_redis_commands_total',
      help: 'Commands for Redis by what they are for and how they ended; not-sent: the circuit is open',
      labelNames: ['command', 'result'],
      registers,
    });
    this.entriesLoaded = new Counter({
      name: 'pod_identity_broker_redis_entries_loaded_total',
      help: 'Sessions that this node had kept in Redis and has loaded',
      registers,
    });
    this.entriesRejected = new Counter({
      name: 'pod_identity_broker_redis_entries_rejected_total',
      help: 'Entries of Redis that were not used, and deleted, by the reason',
      labelNames: ['reason'],
      registers,
    });
    this.leases = new Counter({
      name: 'pod_identity_broker_redis_leases_total',
      help: 'Fetches of sessions that the cluster shares, by who was to call EKS Auth',
      labelNames: ['outcome'],
      registers,
    });
    this.writesDropped = new Counter({
      name: 'pod_identity_broker_redis_writes_dropped_total',
      help: 'Writes that were given up because too many waited for Redis',
      registers,
    });
  }

  /** Adds what is read whenever the metrics are. */
  observe(read: () => RedisFigures | undefined): void {
    const registers = [this.#registry];
    new Gauge({
      name: 'pod_identity_broker_redis_circuit',
      help: '1 for the state of the circuit: closed (Redis is asked), open (it is not) or half-open',
      labelNames: ['state'],
      registers,
      collect() {
        const now = read();
        this.reset();
        if (now === undefined) return;
        for (const state of ['closed', 'open', 'half-open'] as const) {
          this.set({ state }, Number(state === now.circuit));
        }
      },
    });
    new Gauge({
      name: 'pod_identity_broker_redis_writes_waiting',
      help: 'Writes that wait for Redis; absent where there is none',
      registers,
      collect() {
        const now = read();
        if (now === undefined) this.remove();
        else this.set(now.writesWaiting);
      },
    });
    new Gauge({
      name: 'pod_identity_broker_redis_subscribed',
      help: '1: what other brokers announce is heard; absent without --redis-sharing cluster',
      registers,
      collect() {
        const subscribed = read()?.subscribed;
        if (subscribed === undefined) this.remove();
        else this.set(Number(subscribed));
      },
    });
  }
}
