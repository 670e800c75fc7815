import { networkInterfaces } from 'node:os';
import type { Clock, DurationMs, MonotonicMs } from '../clock.ts';
import { canonicalAddress } from './canonical-address.ts';

/** How long what is known is good. */
const GOOD_FOR: DurationMs = 60_000;
/** An address that is not known is looked for anew: interfaces come with pods. */
const LOOKED_AGAIN_AFTER: DurationMs = 1_000;

/** The node's own addresses, those of all its interfaces, and all of loopback. */
export class OwnAddresses {
  readonly #clock: Clock;
  readonly #read: () => readonly string[];
  #known: ReadonlySet<string> = new Set();
  #readAt: MonotonicMs = Number.NEGATIVE_INFINITY;

  /** @param read - Default: what the kernel says. */
  constructor(clock: Clock, read: () => readonly string[] = ofInterfaces) {
    this.#clock = clock;
    this.#read = read;
  }

  /**
   * Whether an address is one of the node's, by what was read within the last minute.
   *
   * @param address - In any form.
   */
  has(address: string): boolean {
    const canonical = canonicalAddress(address);
    if (canonical === undefined) return false;
    if (isLoopback(canonical)) return true;
    const age = this.#clock.elapsed() - this.#readAt;
    if (age < GOOD_FOR && this.#known.has(canonical)) return true;
    if (age < LOOKED_AGAIN_AFTER) return false;
    this.#refresh();
    return this.#known.has(canonical);
  }

  /**
   * Whether it is one of the node's now: an address can be taken from a node at any time.
   *
   * @param address - In any form.
   */
  hasNow(address: string): boolean {
    this.#refresh();
    return this.has(address);
  }

  #refresh(): void {
    this.#readAt = this.#clock.elapsed();
    try {
      this.#known = new Set(this.#read().map((one) => canonicalAddress(one) ?? one));
    } catch {
      // The kernel is asked through a socket: a process without a file descriptor left goes on with
      // what it knew.
    }
  }
}

function isLoopback(canonical: string): boolean {
  return canonical.startsWith('127.') || canonical === '::1';
}

function ofInterfaces(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .map(({ address }) => address);
}
