import { randomBytes, randomInt } from 'node:crypto';

/** Numbers from 0 (included) to 1 (excluded). */
export type Random = () => number;

/**
 * A small generator (mulberry32) whose whole sequence follows from its seed, for latencies
 * that a run can repeat. Not for secrets.
 */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A normally distributed number with mean 0 and deviation 1 (Box–Muller). */
export function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

const ALPHANUMERIC = 'abcdefghijklmnopqrstuvwxyz0123456789';
/** AWS's unique ids use base32's alphabet. */
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** `length` random lower-case letters and digits, as in an association's id. */
export function randomId(length: number): string {
  let id = '';
  for (let index = 0; index < length; index++) id += ALPHANUMERIC[randomInt(36)];
  return id;
}

/** `length` base32 characters from these bytes, or random ones. */
export function base32(length: number, bytes: Uint8Array = randomBytes(length)): string {
  let word = '';
  for (let index = 0; index < length; index++) {
    word += BASE32[(bytes[index % bytes.length] as number) & 31];
  }
  return word;
}
