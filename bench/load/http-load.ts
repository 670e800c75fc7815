import type { DurationMs } from '../../src/clock.ts';
import type { Address } from './one-try.ts';

/** Requests for credentials as fast as a fixed number of connections goes. */
export interface HttpLoad {
  readonly target: Address;
  /** Sent in turn. */
  readonly tokens: readonly string[];
  readonly connections: number;
  readonly duration: DurationMs;
  /** A new connection for each request, or the same for all. */
  readonly connection: 'keep-alive' | 'close';
}

/** What came of a load. Latencies in milliseconds. */
export interface HttpLoadResult {
  readonly requests: number;
  readonly seconds: number;
  readonly bytes: number;
  /** Connections or requests that came to nothing. */
  readonly failed: number;
  /** Answers with a status of 400 or more. */
  readonly refused: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  /** Latencies at {@link PERCENTILES}. */
  readonly distribution: readonly number[];
}

/** Where latencies are read off, in per cent. */
export const PERCENTILES = [1, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9] as const;
