import { Counter, Gauge, type Registry } from 'prom-client';
import type { DurationMs } from '../../clock.ts';

// Metrics whose values are read when the metrics are: nothing is counted twice, and what is not
// scraped costs nothing.

/** Labels with a value. */
export type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** What a metric is called and what it means. */
export interface Declaration<Label extends string = never> {
  readonly name: string;
  readonly help: string;
  /** Default is none. */
  readonly labels?: readonly Label[];
}

/** A counter that is incremented where something happens. */
export function counter<Label extends string = never>(
  registry: Registry,
  { name, help, labels = [] }: Declaration<Label>,
): Counter<Label> {
  return new Counter({ name, help, labelNames: [...labels], registers: [registry] });
}

/** A counter that is read from its source at every scrape. */
export function readCounter<Label extends string>(
  registry: Registry,
  { name, help, labels = [] }: Declaration<Label>,
  read: () => readonly Sample[],
): void {
  new Counter({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
    collect() {
      this.reset();
      for (const [sample, value] of read()) this.inc(sample as Record<Label, string>, value);
    },
  });
}

/** A gauge with labels that is read from its source at every scrape. */
export function readGauges<Label extends string>(
  registry: Registry,
  { name, help, labels = [] }: Declaration<Label>,
  read: () => readonly Sample[],
): void {
  new Gauge({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
    collect() {
      this.reset();
      for (const [sample, value] of read()) this.set(sample as Record<Label, string>, value);
    },
  });
}

/**
 * A gauge without labels that is read from its source at every scrape.
 *
 * @param read - Its value; undefined where there is none now, which leaves the series out.
 */
export function readGauge(
  registry: Registry,
  { name, help }: Declaration,
  read: () => number | undefined,
): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      const value = read();
      if (value === undefined) this.remove();
      else this.set(value);
    },
  });
}

/** A duration as Prometheus has it. */
export function seconds(milliseconds: DurationMs | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1_000;
}
