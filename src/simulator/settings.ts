import type { DurationMs } from '../clock.ts';
import { normal, type Random } from './random.ts';
import { either, nullable, number, object, optional, type Reader } from './read-json.ts';

/** How long EKS Auth takes to answer: always the same, or log-normally distributed. */
export type Latency = DurationMs | { median: DurationMs; sigma: number };

/** A token bucket: `rate` calls a second, `burst` at once. */
export interface Quota {
  rate: number;
  burst: number;
}

/** What of the simulated services can change while they run. */
export interface Settings {
  /** How long EKS Auth takes to answer, milliseconds; default 0. */
  latency: Latency;
  /** Calls to EKS Auth that the account may make; `null`, the default, is no limit. */
  quota: Quota | null;
  /** Lifetime of role sessions in milliseconds; default 6 hours. */
  sessionLifetime: DurationMs;
  /** Lifetime of sessions of a target role (role chaining); default 1 hour. */
  chainedSessionLifetime: DurationMs;
  /** How long a change of an association takes to reach EKS Auth; default 0. */
  associationDelay: DurationMs;
  /** By how many milliseconds the services' clock is ahead of the node's; default 0. */
  clockOffset: number;
}

/** What holds where nothing else is said. */
export const DEFAULT_SETTINGS: Settings = {
  latency: 0,
  quota: null,
  sessionLifetime: 6 * 3_600_000,
  chainedSessionLifetime: 3_600_000,
  associationDelay: 0,
  clockOffset: 0,
};

const duration = number({ min: 0, max: 2 ** 31 - 1 });

/** The fields of {@link Settings}, each optional. */
export const settingsShape = {
  latency: optional(
    either(duration, object({ median: duration, sigma: number({ min: 0, max: 10 }) })),
  ),
  quota: optional(
    nullable(object({ rate: number({ min: 0 }), burst: number({ min: 1, integer: true }) })),
  ),
  sessionLifetime: optional(number({ min: 1_000 })),
  chainedSessionLifetime: optional(number({ min: 1_000 })),
  associationDelay: optional(duration),
  clockOffset: optional(number()),
};

/** Some settings to change. */
export type SettingsChange = { [Name in keyof Settings]?: Settings[Name] | undefined };

/** Reads a {@link SettingsChange} from outside. */
export const settingsChange: Reader<SettingsChange> = object(settingsShape);

/** How long the next answer takes. */
export function sampleLatency(latency: Latency, random: Random): DurationMs {
  if (typeof latency === 'number') return latency;
  return Math.min(latency.median * Math.exp(latency.sigma * normal(random)), 2 ** 31 - 1);
}
