import type { Clock, DurationMs, Timer } from '../clock.ts';
import type { RedisLink } from './redis-link.ts';
import { releaseScript, renewScript } from './scripts.ts';

/** How long after its holder has died a lease can be taken over. */
export const LEASE_LASTS: DurationMs = 1_000;
/** How often a lease is renewed while the call that it is for goes on. */
const RENEWED_EVERY: DurationMs = 300;
/** No call takes so long: a lease that is renewed for longer was forgotten. */
const MAX_RENEWALS = 600;
const WRITE_TIMEOUT: DurationMs = 1_000;

/** A lease that this broker holds: the right to fetch a session for all. */
export interface Lease {
  readonly name: string;
  /** Of the lease and of what is fetched under it; no other lease ever has the same. */
  readonly version: number;
  /** Renews it no more: it was given up, or ends with what is kept. */
  end(): void;
}

/** What {@link Leases} is made from. */
export interface LeasesOptions {
  readonly clock: Clock;
  readonly link: Pick<RedisLink, 'script'>;
  /** Another broker may have taken a lease: this one was not renewed in time. */
  readonly onLost: () => void;
}

/** Holds leases for as long as the calls go on that they are for. */
export class Leases {
  readonly #options: LeasesOptions;
  readonly #held = new Map<string, Lease>();

  constructor(options: LeasesOptions) {
    this.#options = options;
  }

  /**
   * Holds a lease that was just taken.
   *
   * @param onEnd - Called when it is held no more.
   */
  hold(name: string, version: number, onEnd: () => void): Lease {
    const { clock, onLost } = this.#options;
    let timer: Timer | undefined;
    let renewals = 0;
    const renewLater = () => {
      timer = clock.setTimeout(() => void renew(), RENEWED_EVERY);
      timer.unref();
    };
    const renew = async () => {
      const renewed = await this.#options.link
        .script('renew-lease', LEASE_LASTS, renewScript(name, version, LEASE_LASTS))
        .catch(() => undefined);
      if (this.#held.get(name) !== lease) return;
      // Without an answer, or with a strange one, it may live still, and the next renewal may be
      // in time.
      renewals += 1;
      if (renewed !== 0 && renewals < MAX_RENEWALS) renewLater();
      else {
        onLost();
        lease.end();
      }
    };
    const lease: Lease = {
      name,
      version,
      end: () => {
        clock.clearTimeout(timer);
        onEnd();
        if (this.#held.get(name) === lease) this.#held.delete(name);
      },
    };
    this.#held.get(name)?.end();
    this.#held.set(name, lease);
    renewLater();
    return lease;
  }

  /** The lease of this name and version has done its work. */
  end(name: string, version: number): void {
    const lease = this.#held.get(name);
    if (lease?.version === version) lease.end();
  }

  /** Gives a lease up without anything to keep, so that another broker can go on at once. */
  release(lease: Lease, channel: string, message: string): void {
    if (this.#held.get(lease.name) !== lease) return;
    lease.end();
    const { link } = this.#options;
    link
      .script('release', WRITE_TIMEOUT, releaseScript(lease.name, lease.version, channel, message))
      // It ends by itself, a little later.
      .catch(() => undefined);
  }

  /** Renews nothing any more. */
  stop(): void {
    for (const lease of [...this.#held.values()]) lease.end();
  }
}
