import type { AuditEvent } from './audit.ts';

/** How often what happened, and with which outcome. */
export interface OutcomeCounts {
  calls: number;
  /** Calls answered 2xx. */
  succeeded: number;
  /** By error code; a call answered 2xx counts nowhere here. */
  errors: Record<string, number>;
}

/** What the simulator has counted since its start or the last reset. */
export interface Counts {
  /** Calls of every service. */
  calls: number;
  /** By `<service>:<operation>`. */
  operations: Record<string, OutcomeCounts>;
  /** Calls to EKS Auth by `<namespace>/<service account>`, as the tokens claim. */
  serviceAccounts: Record<string, OutcomeCounts>;
  /** Calls to EKS Auth, all together. */
  assumeRole: OutcomeCounts;
  /** Calls to EKS Auth now under way, and the most at once. */
  inFlight: number;
  peakInFlight: number;
  /** Calls to EKS Auth that began while another one for the same was under way. */
  doubleFetches: { serviceAccount: number; pod: number; token: number };
}

/** Whom a call to EKS Auth is for. */
export interface FlightSubject {
  namespace?: string | undefined;
  serviceAccount?: string | undefined;
  podUid?: string | undefined;
  token: string | undefined;
}

/** A call to EKS Auth that is under way. */
export interface CallUnderWay {
  /** It never reaches the service, which therefore does nothing twice if it is made again. */
  lost(): void;
  /** It is over, or its caller has gone. */
  end(): void;
}

/** Counts calls, outcomes and calls under way. */
export class Counters {
  readonly #underWay = new Map<string, number>();
  #inFlight = 0;
  #counts = empty();

  /** What has been counted so far, as a copy. */
  read(): Counts {
    return structuredClone({ ...this.#counts, inFlight: this.#inFlight });
  }

  /** Starts all counts over; calls under way stay under way. */
  reset(): void {
    this.#counts = empty();
    this.#counts.peakInFlight = this.#inFlight;
  }

  /** Counts a finished call. */
  finished(event: Omit<AuditEvent, 'sequence'>): void {
    this.#counts.calls += 1;
    const { operations, serviceAccounts, assumeRole } = this.#counts;
    count(bucket(operations, `${event.service}:${event.operation}`), event);
    if (event.operation !== 'AssumeRoleForPodIdentity') return;
    count(assumeRole, event);
    if (event.namespace !== undefined) {
      count(bucket(serviceAccounts, `${event.namespace}/${event.serviceAccount}`), event);
    }
  }

  /**
   * Counts a call to EKS Auth as under way.
   *
   * @returns What ends it.
   */
  begin(subject: FlightSubject): CallUnderWay {
    const { doubleFetches } = this.#counts;
    const keys: [keyof typeof doubleFetches, string][] = [];
    if (subject.namespace !== undefined) {
      keys.push(['serviceAccount', `sa ${subject.namespace}/${subject.serviceAccount}`]);
    }
    if (subject.podUid !== undefined) keys.push(['pod', `pod ${subject.podUid}`]);
    if (subject.token !== undefined) keys.push(['token', `token ${subject.token}`]);
    for (const [kind, key] of keys) {
      const others = this.#underWay.get(key) ?? 0;
      if (others > 0) doubleFetches[kind] += 1;
      this.#underWay.set(key, others + 1);
    }
    this.#inFlight += 1;
    this.#counts.peakInFlight = Math.max(this.#counts.peakInFlight, this.#inFlight);
    const lost = once(() => {
      for (const [, key] of keys) {
        const left = (this.#underWay.get(key) as number) - 1;
        if (left === 0) this.#underWay.delete(key);
        else this.#underWay.set(key, left);
      }
    });
    const end = once(() => {
      lost();
      this.#inFlight -= 1;
    });
    return { lost, end };
  }
}

/** The same function, for one call; further ones do nothing. */
function once(what: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    what();
  };
}

function empty(): Counts {
  return {
    calls: 0,
    operations: {},
    serviceAccounts: {},
    assumeRole: { calls: 0, succeeded: 0, errors: {} },
    inFlight: 0,
    peakInFlight: 0,
    doubleFetches: { serviceAccount: 0, pod: 0, token: 0 },
  };
}

function bucket(buckets: Record<string, OutcomeCounts>, name: string): OutcomeCounts {
  if (!Object.hasOwn(buckets, name)) buckets[name] = { calls: 0, succeeded: 0, errors: {} };
  return buckets[name] as OutcomeCounts;
}

function count(counts: OutcomeCounts, { status, errorCode }: Omit<AuditEvent, 'sequence'>): void {
  counts.calls += 1;
  if (status >= 200 && status < 300 && errorCode === undefined) counts.succeeded += 1;
  else {
    const code = errorCode ?? String(status);
    counts.errors[code] = (counts.errors[code] ?? 0) + 1;
  }
}
