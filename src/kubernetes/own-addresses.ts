import { networkInterfaces } from 'node:os';
import type { Clock, DurationMs } from '../clock.ts';
import { canonicalAddress } from './address.ts';

/** How long what is known is good. */
const GOOD_FOR: DurationMs = 60_000;
/** An address that is not known is looked for anew: interfaces come with pods. */
const LOOKED_AGAIN_AFTER: DurationMs = 1_000;

/** The node's own addresses, those of all its interfaces. */
export class OwnAddresses {
  readonly #clock: Clock;
  readonly #read: () => readonly string[];
  #known: ReadonlySet<string> = new Set();
  #readAt = Number.NEGATIVE_INFINITY;

  /** @param read - Default: what the kernel says. */
  constructor(clock: Clock, read: () => readonly string[] = ofInterfaces) {
    this.#clock = clock;
    this.#read = read;
  }

  /** @param address - In canonical form. */
  has(address: string): boolean {
    if (address.startsWith('127.') || address === '::1') return true;
    const age = this.#clock.elapsed() - this.#readAt;
    if (age < GOOD_FOR && this.#known.has(address)) return true;
    if (age < LOOKED_AGAIN_AFTER) return false;
    this.#readAt = this.#clock.elapsed();
    this.#known = new Set(this.#read().map((one) => canonicalAddress(one) ?? one));
    return this.#known.has(address);
  }
}

function ofInterfaces(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .map(({ address }) => address);
}
