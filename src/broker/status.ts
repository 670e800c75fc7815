import type { PodWatchMode } from '../config/config.ts';
import type { RedisSharing } from '../config/redis-config.ts';
import type { CircuitState } from '../session-store/circuit.ts';
import type { PaceMode } from '../sessions/call-pace.ts';
import { type SessionStatus, sessionStatus } from '../sessions/session-status.ts';
import type { Components } from './components.ts';

/** What `status` shows. */
export interface BrokerStatus {
  readonly version: string;
  readonly clusterName: string;
  /** The broker's time, to compare the dates below with. */
  readonly now: string;
  readonly sessions: readonly SessionStatus[];
  readonly calls: {
    readonly waiting: number;
    readonly underWay: number;
    readonly pace: PaceMode;
    /** Calls per second; null without a limit. */
    readonly rate: number | null;
  };
  readonly keys: {
    readonly issuer: string | null;
    readonly usable: boolean;
    readonly proven: boolean;
  };
  readonly nodeCredentials: { readonly usable: boolean; readonly failure: string | null };
  readonly addresses: { readonly expected: number; readonly bound: number };
  /** null: sessions are held in memory only. */
  readonly redis: {
    readonly sharing: RedisSharing;
    readonly circuit: CircuitState;
    /** Why the circuit is open; null while it is not. */
    readonly reason: string | null;
    readonly writesWaiting: number;
    /** Whether announcements of other brokers are received; null: sessions are not shared. */
    readonly subscribed: boolean | null;
    /** Why they are not received; null if they are. */
    readonly unsubscribedReason: string | null;
  } | null;
  /** Null: pods are not watched. */
  readonly pods: {
    readonly mode: PodWatchMode;
    readonly known: number;
    readonly connected: boolean;
  } | null;
}

/** The state of the broker, without tokens and secrets. */
export function brokerStatus(components: Components): BrokerStatus {
  const { clock, config, sessions, queue, pace, keyRing, credentials, listener, pods } = components;
  const now = clock.now();
  const { rate } = pace;
  return {
    version: components.version,
    clusterName: config.clusterName,
    now: new Date(now).toISOString(),
    sessions: [...sessions.all()].map((session) => sessionStatus(session, now)),
    calls: {
      waiting: queue.waiting,
      underWay: queue.underWay,
      pace: pace.mode,
      rate: Number.isFinite(rate) ? rate : null,
    },
    keys: {
      issuer: keyRing.issuer ?? null,
      usable: keyRing.keys !== undefined,
      proven: keyRing.proven,
    },
    nodeCredentials: {
      usable: credentials.current !== undefined,
      failure: credentials.failure?.message ?? null,
    },
    addresses: { expected: listener.addressesExpected, bound: listener.addressesBound },
    redis: redisStatus(components),
    pods:
      pods === undefined
        ? null
        : { mode: config.watchPods, known: pods.known, connected: pods.connected },
  };
}

function redisStatus({ store, config }: Components): BrokerStatus['redis'] {
  if (store === undefined || config.redis === undefined) return null;
  const { circuit, reason, waiting, announcements } = store.state;
  return {
    sharing: config.redis.sharing,
    circuit,
    reason: circuit === 'closed' ? null : reason,
    writesWaiting: waiting,
    subscribed: announcements?.heard ?? null,
    unsubscribedReason: announcements?.heard === false ? announcements.reason : null,
  };
}
