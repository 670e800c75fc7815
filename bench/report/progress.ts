import type { WriteStream } from 'node:tty';

/** Tells on a terminal what is being done; one line that changes, or lines where it is none. */
export class Progress {
  readonly #stream: WriteStream;
  #name = '';
  #startedAt = 0;

  constructor(stream: WriteStream) {
    this.#stream = stream;
  }

  /** A scenario begins. */
  begin(name: string, shows: string): void {
    this.#name = name;
    this.#startedAt = performance.now();
    this.#stream.write(`${name}: ${shows}\n`);
  }

  /** What of the scenario is being done now. */
  say(text: string): void {
    const seconds = Math.round((performance.now() - this.#startedAt) / 1_000);
    const line = `  ${String(seconds).padStart(4)} s  ${text}`;
    if (!this.#stream.isTTY) {
      this.#stream.write(`${line}\n`);
      return;
    }
    this.#stream.write(`\r\u001b[K${line.slice(0, (this.#stream.columns ?? 80) - 1)}`);
  }

  /** The scenario has ended, well or not. */
  end(): void {
    if (this.#stream.isTTY && this.#name !== '') this.#stream.write('\r\u001b[K');
    this.#name = '';
  }
}
