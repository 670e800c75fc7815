import type { WriteStream } from 'node:tty';

/** Where progress is told: a terminal, or whatever takes its place. */
export type ProgressStream = Pick<WriteStream, 'write'> &
  Partial<Pick<WriteStream, 'isTTY' | 'columns'>>;

/** A scenario that is under way. */
export interface ScenarioProgress {
  /** Says what is being done now. */
  say(text: string): void;
  /** It has ended; how long it took, in seconds. */
  done(): number;
}

/**
 * Tells what is being done. On a terminal there is one line that changes, and one stays for each
 * scenario that is done; elsewhere all lines stay.
 */
export class Progress {
  readonly #stream: ProgressStream;
  readonly #running = new Set<string>();

  constructor(stream: ProgressStream) {
    this.#stream = stream;
  }

  /** A scenario begins; others may be under way. */
  begin(name: string, shows: string): ScenarioProgress {
    const startedAt = performance.now();
    const seconds = () => (performance.now() - startedAt) / 1_000;
    const line = (text: string) => {
      const whose = this.#running.size > 1 ? `${name}: ` : '';
      return `  ${String(Math.round(seconds())).padStart(4)} s  ${whose}${text}`;
    };
    this.#lasting(`${name}: ${shows}`);
    this.#running.add(name);
    return {
      say: (text) => this.#passing(line(text)),
      done: () => {
        const took = seconds();
        this.#lasting(line(`done after ${took.toFixed(0)} s`));
        this.#running.delete(name);
        return took;
      },
    };
  }

  /** Nothing is under way any more, well or not. */
  end(): void {
    if (this.#stream.isTTY) this.#stream.write(CLEAR_LINE);
    this.#running.clear();
  }

  #lasting(line: string): void {
    this.#stream.write(`${this.#stream.isTTY ? CLEAR_LINE : ''}${line}\n`);
  }

  #passing(line: string): void {
    if (!this.#stream.isTTY) this.#stream.write(`${line}\n`);
    else this.#stream.write(`${CLEAR_LINE}${line.slice(0, (this.#stream.columns ?? 80) - 1)}`);
  }
}

/** Back to the first column, and the line empty (ECMA-48, CSI K). */
const CLEAR_LINE = '\r\u001b[K';
