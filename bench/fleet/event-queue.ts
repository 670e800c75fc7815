/** Events in the order of their times: a binary heap over typed arrays, for millions of them. */
export class EventQueue {
  #times = new Float64Array(1_024);
  #payloads = new Int32Array(1_024);
  #size = 0;

  /** How many are waiting. */
  get size(): number {
    return this.#size;
  }

  /** When the first is due; only where {@link size} is not 0. */
  get time(): number {
    return this.#times[0] as number;
  }

  /** Adds an event: a number of 32 bits. */
  add(time: number, payload: number): void {
    if (this.#size === this.#times.length) this.#grow();
    let place = this.#size;
    this.#size += 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if ((this.#times[parent] as number) <= time) break;
      this.#move(parent, place);
      place = parent;
    }
    this.#times[place] = time;
    this.#payloads[place] = payload;
  }

  /** Takes the first out. */
  take(): number {
    const first = this.#payloads[0] as number;
    this.#size -= 1;
    const time = this.#times[this.#size] as number;
    const payload = this.#payloads[this.#size] as number;
    let place = 0;
    for (;;) {
      let child = place * 2 + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#at(child + 1) < this.#at(child)) child += 1;
      if (this.#at(child) >= time) break;
      this.#move(child, place);
      place = child;
    }
    this.#times[place] = time;
    this.#payloads[place] = payload;
    return first;
  }

  #at(place: number): number {
    return this.#times[place] as number;
  }

  #move(from: number, to: number): void {
    this.#times[to] = this.#times[from] as number;
    this.#payloads[to] = this.#payloads[from] as number;
  }

  #grow(): void {
    const times = new Float64Array(this.#times.length * 2);
    const payloads = new Int32Array(this.#payloads.length * 2);
    times.set(this.#times);
    payloads.set(this.#payloads);
    this.#times = times;
    this.#payloads = payloads;
  }
}
