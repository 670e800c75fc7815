import type { ServiceClock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { NodeCredentialsKeeper } from '../eks-auth/node-credentials.ts';
import type { Identity } from '../identity/identity.ts';
import type { KeyRing } from '../identity/key-ring.ts';
import type { Listener } from '../listener/listener.ts';
import type { RedisSessionStore } from '../session-store/redis-session-store.ts';
import type { CallPace } from '../sessions/call-pace.ts';
import type { CallQueue } from '../sessions/call-queue.ts';
import type { RoleSessions } from '../sessions/role-sessions.ts';
import type { WorkerPool } from '../workers/pool.ts';
import type { PodAwareness } from './pod-awareness.ts';

/** The components of a broker that metrics, status, log and `explain` read. */
export interface Components {
  readonly clock: ServiceClock;
  readonly config: Config;
  readonly version: string;
  readonly logLinesDropped: () => number;
  readonly sessions: RoleSessions;
  readonly queue: CallQueue;
  readonly pace: CallPace;
  readonly identity: Identity;
  readonly keyRing: KeyRing;
  readonly workers: WorkerPool;
  readonly credentials: NodeCredentialsKeeper;
  readonly listener: Listener;
  /** Undefined: sessions are held in memory only. */
  readonly store: RedisSessionStore | undefined;
  /** Undefined: pods are not watched. */
  readonly pods: PodAwareness | undefined;
}
