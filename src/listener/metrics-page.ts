import type { ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import type { Clock, DurationMs } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';

/** The least time from one rendering to the next: each takes milliseconds of the main thread. */
const MIN_INTERVAL: DurationMs = 100;

/**
 * The metrics as Prometheus reads them. However many ask at once, they share one rendering,
 * which begins after the last of them has asked: none is told what was true before it asked.
 */
export class MetricsPage {
  readonly #clock: Clock;
  readonly #registry: Pick<Registry, 'metrics' | 'contentType'>;
  readonly #log: Log;
  readonly #waiting = new Set<ServerResponse>();
  #renderedAt = Number.NEGATIVE_INFINITY;
  #rendering = false;

  constructor(clock: Clock, registry: Pick<Registry, 'metrics' | 'contentType'>, log: Log) {
    this.#clock = clock;
    this.#registry = registry;
    this.#log = log;
  }

  /** Answers with the metrics, 500 where they cannot be read. */
  answer(response: ServerResponse): void {
    this.#waiting.add(response);
    response.on('close', () => this.#waiting.delete(response));
    this.#renderSoon();
  }

  #renderSoon(): void {
    if (this.#rendering) return;
    this.#rendering = true;
    const wait = this.#renderedAt + MIN_INTERVAL - this.#clock.elapsed();
    if (wait <= 0) void this.#render();
    else this.#clock.setTimeout(() => void this.#render(), wait).unref();
  }

  async #render(): Promise<void> {
    this.#renderedAt = this.#clock.elapsed();
    const asked = [...this.#waiting];
    this.#waiting.clear();
    let status = 200;
    let text = '';
    try {
      text = await this.#registry.metrics();
    } catch (error) {
      this.#log.error({ err: error }, 'metrics cannot be read');
      status = 500;
    }
    for (const response of asked) {
      response.writeHead(status, { 'Content-Type': this.#registry.contentType }).end(text);
    }
    this.#rendering = false;
    if (this.#waiting.size > 0) this.#renderSoon();
  }
}
