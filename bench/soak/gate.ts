/**
 * The way to the simulator's control API. The simulated outage closes that as well, so nobody
 * goes there until it is over: what was asked for has always been carried out once.
 */
export class Gate {
  readonly #inside = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  /** Makes a call, as soon as the gate is open. */
  async pass<T>(call: () => Promise<T>): Promise<T> {
    while (this.#closed !== undefined) await this.#closed;
    const result = call();
    const settled = result.catch(() => undefined);
    this.#inside.add(settled);
    void settled.finally(() => this.#inside.delete(settled));
    return await result;
  }

  /** Does something while nobody is inside and nobody gets in. */
  async closedFor(work: () => Promise<void>): Promise<void> {
    while (this.#closed !== undefined) await this.#closed;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#closed = promise;
    try {
      await Promise.all(this.#inside);
      await work();
    } finally {
      this.#closed = undefined;
      resolve();
    }
  }
}
