import type { DurationMs } from '../clock.ts';
import type { Random } from './random.ts';
import {
  either,
  namespaceName,
  nullable,
  number,
  object,
  objectName,
  oneOf,
  optional,
  type Reader,
  text,
} from './read-json.ts';

/** What can go wrong with EKS Auth. */
export const EKS_AUTH_FAULTS = [
  /** The connection is reset. */
  'reset',
  /** The call is accepted and never answered. */
  'black-hole',
  /** Answers take `delay` longer. */
  'slow',
  /** 500 InternalServerException */
  'internal-error',
  /** 503 ServiceUnavailableException */
  'unavailable',
  /** 429 ThrottlingException */
  'throttle',
  /** The node's role may not call EKS Auth: 400 AccessDeniedException. */
  'access-denied',
  /** The node's session has expired: 403 ExpiredTokenException about the security token. */
  'node-credentials-expired',
  /** Any other error: `code`, `status`, `message`. */
  'error',
  /** 200 with a body that is no JSON. */
  'garbage',
  /** Half a body, then the connection closes. */
  'half-body',
  /** 200 without `field`, a path such as `credentials.sessionToken`. */
  'missing-field',
  /** 200 with another session's subject. */
  'other-subject',
  /** 200 for another audience. */
  'other-audience',
  /** 200 with credentials that expired a minute ago. */
  'expired',
  /** 200 with `expiration` as the expiry: any number, text, or `null`. */
  'wrong-expiry',
] as const;

/** What can go wrong with the issuer's discovery document and keys. */
export const ISSUER_FAULTS = [
  'reset',
  'black-hole',
  'slow',
  /** 503 */
  'unavailable',
  'not-found',
  'garbage',
  'half-body',
  /** A body that never ends. */
  'endless',
  /** 302 to `location`, by default to the same document under another path. */
  'redirect',
] as const;

/** Something that goes wrong for some or all calls. The first fault that fits a call counts. */
export interface Fault {
  /** Which service fails; default `eks-auth`. */
  service?: 'eks-auth' | 'issuer' | undefined;
  kind: (typeof EKS_AUTH_FAULTS)[number] | (typeof ISSUER_FAULTS)[number];
  /** Only so many calls, then the fault is over. Default: until it is cleared. */
  calls?: number | undefined;
  /** Only this part of the calls, from 0 to 1. */
  probability?: number | undefined;
  /** Only tokens of this namespace. */
  namespace?: string | undefined;
  /** Only tokens of this service account. */
  serviceAccount?: string | undefined;
  /** Only tokens of this pod. */
  pod?: string | undefined;
  /** Only this document of the issuer. */
  document?: 'configuration' | 'keys' | undefined;
  /** For `slow`, milliseconds; default 1,000. */
  delay?: DurationMs | undefined;
  /** For `missing-field`; default `credentials.sessionToken`. */
  field?: string | undefined;
  /** For `wrong-expiry`; default `"tomorrow"`. */
  expiration?: number | string | null | undefined;
  /** For `error`; default `InternalServerException`. */
  code?: string | undefined;
  /** For `error`; default 500. */
  status?: number | undefined;
  /** For `error`. */
  message?: string | undefined;
  /** For `redirect`. */
  location?: string | undefined;
}

/** A fault in force. */
export interface ActiveFault extends Fault {
  id: string;
  service: 'eks-auth' | 'issuer';
  /** How many calls it has met. */
  met: number;
}

/** What a call is known by when faults are looked for. */
export interface FaultTarget {
  namespace?: string | undefined;
  serviceAccount?: string | undefined;
  pod?: string | undefined;
  document?: 'configuration' | 'keys' | undefined;
}

const shape: Reader<Fault> = object({
  service: optional(oneOf(['eks-auth', 'issuer'])),
  kind: oneOf([...EKS_AUTH_FAULTS, ...ISSUER_FAULTS]),
  calls: optional(number({ min: 1, integer: true })),
  probability: optional(number({ min: 0, max: 1 })),
  namespace: optional(namespaceName),
  serviceAccount: optional(objectName),
  pod: optional(objectName),
  document: optional(oneOf(['configuration', 'keys'])),
  delay: optional(number({ min: 0, max: 2 ** 31 - 1 })),
  field: optional(text({ max: 200 })),
  expiration: optional(nullable(either(number(), text({ max: 200 })))),
  code: optional(text({ pattern: /^[A-Za-z]+$/, max: 100 })),
  status: optional(number({ min: 200, max: 599, integer: true })),
  message: optional(text({ max: 2_000 })),
  location: optional(text({ pattern: /^[\x21-\x7e]+$/, max: 2_000 })),
});

/** Reads a {@link Fault} from outside. */
export const fault: Reader<Fault> = (value, name) => {
  const read = shape(value, name);
  const service = read.service ?? 'eks-auth';
  const kinds: readonly string[] = service === 'issuer' ? ISSUER_FAULTS : EKS_AUTH_FAULTS;
  if (!kinds.includes(read.kind)) {
    throw new TypeError(`kind of a fault of ${service} must be one of ${kinds.join(', ')}`);
  }
  return read;
};

/** The faults in force. */
export class Faults {
  readonly #random: Random;
  readonly #active = new Map<string, ActiveFault>();
  #count = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /**
   * Puts a fault in force, after those that are.
   *
   * @returns Its id, for {@link clear}.
   * @throws TypeError that names the field.
   */
  add(given: Fault): string {
    const read = fault(given, '');
    const id = `fault-${++this.#count}`;
    this.#active.set(id, { ...read, service: read.service ?? 'eks-auth', id, met: 0 });
    return id;
  }

  /** Ends one fault, or all; harmless where it is over already. */
  clear(id?: string): void {
    if (id === undefined) this.#active.clear();
    else this.#active.delete(id);
  }

  /** The faults in force, in the order in which they are tried. */
  list(): ActiveFault[] {
    return [...this.#active.values()].map((active) => ({ ...active }));
  }

  /** The fault that a call meets, if any; counts it. */
  meet(service: ActiveFault['service'], target: FaultTarget): ActiveFault | undefined {
    for (const active of this.#active.values()) {
      if (active.service !== service || !fits(active, target)) continue;
      if (active.probability !== undefined && this.#random() >= active.probability) continue;
      active.met += 1;
      if (active.met === active.calls) this.#active.delete(active.id);
      return active;
    }
    return undefined;
  }
}

function fits(active: ActiveFault, target: FaultTarget): boolean {
  return (['namespace', 'serviceAccount', 'pod', 'document'] as const).every(
    (field) => active[field] === undefined || active[field] === target[field],
  );
}
