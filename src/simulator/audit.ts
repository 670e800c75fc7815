import type { DurationMs, EpochMs } from '../clock.ts';

/** One call to one of the simulated services. Holds no token and no secret. */
export interface AuditEvent {
  /** 1 for the first call. */
  sequence: number;
  /** When the call came in, by the node's clock. */
  time: EpochMs;
  /** Until it was answered or given up. */
  duration: DurationMs;
  service: 'eks' | 'eks-auth' | 'sts' | 'issuer' | 'unknown';
  /** Such as `AssumeRoleForPodIdentity`, `GetCallerIdentity`, `GetKeys`. */
  operation: string;
  requestId: string;
  /** HTTP status; 0 where there was no answer. */
  status: number;
  /** Of an error; `ClientClosed` where the caller went away, `Reset` where it was cut off. */
  errorCode?: string | undefined;
  errorMessage?: string | undefined;
  /** The injected fault that the call met. */
  fault?: string | undefined;
  callerArn?: string | undefined;
  callerAccessKeyId?: string | undefined;
  userAgent?: string | undefined;
  clusterName?: string | undefined;
  /** As the token claims, verified or not. */
  namespace?: string | undefined;
  serviceAccount?: string | undefined;
  serviceAccountUid?: string | undefined;
  pod?: string | undefined;
  podUid?: string | undefined;
  /** The token's `jti`. */
  tokenId?: string | undefined;
  associationId?: string | undefined;
  /** Of the role session issued. */
  assumedRoleArn?: string | undefined;
  sessionName?: string | undefined;
  issuedAccessKeyId?: string | undefined;
  expiration?: EpochMs | undefined;
  sessionTags?: Readonly<Record<string, string>> | undefined;
}

/** What of the log to show. */
export interface AuditQuery {
  service?: string | undefined;
  operation?: string | undefined;
  namespace?: string | undefined;
  serviceAccount?: string | undefined;
  pod?: string | undefined;
  errorCode?: string | undefined;
  /** Only later than this sequence number. */
  after?: number | undefined;
  /** The latest so many; default all that are kept. */
  limit?: number | undefined;
}

/** The latest calls, in a ring: the oldest make room. */
export class AuditLog {
  readonly #capacity: number;
  readonly #ring: AuditEvent[] = [];
  #sequence = 0;

  /** @param capacity - How many events are kept. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** The sequence number of the latest event; 0 before the first. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Adds an event. */
  add(event: Omit<AuditEvent, 'sequence'>): void {
    this.#sequence += 1;
    this.#ring[(this.#sequence - 1) % this.#capacity] = { sequence: this.#sequence, ...event };
  }

  /** The events kept that match, oldest first. */
  events(query: AuditQuery = {}): AuditEvent[] {
    const { after = 0, limit = this.#capacity, ...wanted } = query;
    const fields = Object.entries(wanted).filter(([, value]) => value !== undefined);
    const found: AuditEvent[] = [];
    const oldest = Math.max(after, this.#sequence - this.#ring.length);
    for (let sequence = this.#sequence; sequence > oldest && found.length < limit; sequence--) {
      const event = this.#ring[(sequence - 1) % this.#capacity] as AuditEvent;
      if (fields.every(([name, value]) => event[name as keyof AuditEvent] === value)) {
        found.push(event);
      }
    }
    return found.reverse();
  }

  /** Forgets all events; sequence numbers go on. */
  clear(): void {
    this.#ring.length = 0;
    // The ring is indexed by sequence number, so it starts over at a multiple of its size.
    this.#sequence += (this.#capacity - (this.#sequence % this.#capacity)) % this.#capacity;
  }
}
