import { createRandom, type Random } from '../../src/simulator/random.ts';

/**
 * What one part of a run does at random. Each has a sequence of its own, so that what one
 * does never changes what another does.
 */
export class Chance {
  readonly #random: Random;

  /**
   * @param seed - The run's.
   * @param part - Whose sequence.
   */
  constructor(seed: number, part: string) {
    let mixed = seed;
    for (const letter of part) mixed = Math.imul(mixed ^ letter.charCodeAt(0), 0x01000193);
    this.#random = createRandom(mixed);
  }

  /** A number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + (most - least) * this.#random();
  }

  /** A whole number from `least` to `most`, both included. */
  whole(least: number, most: number): number {
    return least + Math.floor((most - least + 1) * this.#random());
  }

  /** Whether something of this probability comes to pass. */
  is(probability: number): boolean {
    return this.#random() < probability;
  }

  /** One of some. */
  pick<T>(list: readonly T[]): T {
    return list[this.whole(0, list.length - 1)] as T;
  }

  /** All of them, in any order. */
  shuffled<T>(list: readonly T[]): T[] {
    const result = [...list];
    for (let last = result.length - 1; last > 0; last -= 1) {
      const other = this.whole(0, last);
      [result[last], result[other]] = [result[other] as T, result[last] as T];
    }
    return result;
  }
}

/** Deals all of some things in random order, then all of them in another. */
export class Deck<T> {
  readonly #all: readonly T[];
  readonly #chance: Chance;
  #left: T[] = [];

  constructor(all: readonly T[], chance: Chance) {
    this.#all = all;
    this.#chance = chance;
  }

  deal(): T {
    if (this.#left.length === 0) this.#left = this.#chance.shuffled(this.#all);
    return this.#left.pop() as T;
  }
}
