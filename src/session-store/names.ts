import { createHash, createHmac } from 'node:crypto';
import type { RedisSharing } from '../config/redis-config.ts';
import { derive } from './seal.ts';
import type { FlushChoice, StoredSession } from './session-store.ts';

/** What names depend on besides the key. */
export interface NameRules {
  readonly clusterName: string;
  readonly nodeName: string;
  readonly sharing: RedisSharing;
}

/**
 * Names of everything in Redis. Whatever would tell of a namespace, a service account, a pod
 * or a node is a digest under a key of its own (HMAC-SHA-256), so that Redis cannot even try
 * out names that it guesses.
 *
 * All have the same hash tag, so that a Redis Cluster holds them in one place and scripts may
 * use several of them.
 */
export class Names {
  readonly prefix: string;
  /** The order of events: the latest version that was given out. */
  readonly sequence: string;
  /** Where brokers tell each other what has changed. */
  readonly channel: string;
  /** Written and read to find out whether Redis is well. */
  readonly probe: string;
  readonly #rules: NameRules;
  readonly #key: Buffer;

  /** @param key - One of the file's. */
  constructor(key: Buffer, rules: NameRules) {
    this.#rules = rules;
    this.#key = derive(key, 'names');
    const { clusterName } = rules;
    const cluster = createHash('sha256').update(clusterName).digest('hex').slice(0, 16);
    this.prefix = `{pib:${cluster}}`;
    this.sequence = `${this.prefix}:sequence`;
    this.channel = `${this.prefix}:changes`;
    this.probe = `${this.prefix}:probe`;
  }

  /** Whether all brokers of the cluster share a session. */
  isShared({ scope }: Pick<StoredSession, 'scope'>): boolean {
    return this.#rules.sharing === 'cluster' && scope === 'service-account';
  }

  /** What is kept of a session. */
  entry(session: Pick<StoredSession, 'key' | 'scope'>): string {
    return `${this.entryPrefix}${this.#digest('session', this.#owner(session), session.key)}`;
  }

  /** What the names of entries begin with. */
  get entryPrefix(): string {
    return `${this.prefix}:e:`;
  }

  /** The lease of whoever fetches a session. */
  lease(session: Pick<StoredSession, 'key' | 'scope'>): string {
    return `${this.prefix}:l:${this.#digest('session', this.#owner(session), session.key)}`;
  }

  /** The entries that this node holds, by expiry. */
  get index(): string {
    return `${this.prefix}:n:${this.#digest('node', this.#rules.nodeName)}`;
  }

  /** When sessions were last flushed. */
  flush({ namespace = '', serviceAccount = '' }: FlushChoice): string {
    const { sharing, nodeName } = this.#rules;
    const owner = sharing === 'cluster' ? '' : nodeName;
    return `${this.prefix}:f:${this.#digest('flush', owner, namespace, serviceAccount)}`;
  }

  /** All flushes that a session is subject to. */
  flushes({ namespace, serviceAccount }: Pick<StoredSession, 'namespace' | 'serviceAccount'>) {
    return [this.flush({}), this.flush({ namespace }), this.flush({ namespace, serviceAccount })];
  }

  #owner(session: Pick<StoredSession, 'scope'>): string {
    return this.isShared(session) ? '' : this.#rules.nodeName;
  }

  #digest(...parts: readonly string[]): string {
    const text = JSON.stringify([this.#rules.clusterName, ...parts]);
    return createHmac('sha256', this.#key).update(text).digest('base64url');
  }
}
