import type { DurationMs } from '../clock.ts';
import type { RedisTarget } from './redis-url.ts';

/** Who finds a session again in Redis: this node's broker alone, or all brokers of the cluster. */
export const REDIS_SHARINGS = ['node', 'cluster'] as const;
export type RedisSharing = (typeof REDIS_SHARINGS)[number];

/** How sessions are kept in Redis. */
export interface RedisConfig {
  readonly target: RedisTarget;
  readonly sharing: RedisSharing;
  /** File with the keys that entries are sealed under. */
  readonly keyFile: string;
  readonly username: string | undefined;
  readonly passwordFile: string | undefined;
  /** For sentinels that want to know who asks; the server's own are not sent to them. */
  readonly sentinelUsername: string | undefined;
  readonly sentinelPasswordFile: string | undefined;
  /** Certificates to trust (PEM); undefined: those that Node.js trusts. */
  readonly caFile: string | undefined;
  /** The longest that Redis may hold up a request that finds no session. */
  readonly budget: DurationMs;
  /** Whose own sessions are whose: the node's name. */
  readonly nodeName: string;
}
