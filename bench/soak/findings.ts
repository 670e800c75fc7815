/** Details of a kind of finding that are kept; the others are only counted. */
const KEPT = 12;

/** What went wrong, counted by kind, with details of the first ones. No token, no secret. */
export class Findings {
  readonly #kinds = new Map<string, { count: number; readonly details: string[] }>();

  /** How many there are in all. */
  get count(): number {
    return this.countOf(/(?:)/);
  }

  /** How many there are of some kinds. */
  countOf(kinds: RegExp): number {
    return [...this.#kinds]
      .filter(([kind]) => kinds.test(kind))
      .reduce((sum, [, { count }]) => sum + count, 0);
  }

  /** Adds one. */
  add(kind: string, details: object = {}): void {
    const found = this.#kinds.get(kind) ?? { count: 0, details: [] };
    this.#kinds.set(kind, found);
    found.count += 1;
    if (found.details.length < KEPT) {
      found.details.push(JSON.stringify({ at: new Date().toISOString(), ...details }));
    }
  }

  /** A line for each kind and each kept detail. */
  lines(): string[] {
    return [...this.#kinds].flatMap(([kind, { count, details }]) => [
      `${kind}: ${count}`,
      ...details.map((text) => `    ${text}`),
    ]);
  }
}
