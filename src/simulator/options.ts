import { type Clock, type DurationMs, systemClock } from '../clock.ts';
import type { Credentials } from './credential-authority.ts';
import { listOf, number, object, oneOf, optional, record, text } from './read-json.ts';
import { DEFAULT_SETTINGS, type Settings, type SettingsChange, settingsShape } from './settings.ts';

/** How to start a simulator. Durations are in milliseconds. */
export interface SimulatorOptions extends SettingsChange {
  /** Address to listen on; default `127.0.0.1`. */
  host?: string | undefined;
  /** Default 0: any free port. */
  port?: number | undefined;
  /** PEM key and certificate for HTTPS; default plain HTTP. */
  tls?: { key: string; cert: string } | undefined;
  /** Default `simulated`. */
  clusterName?: string | undefined;
  /** Default `us-east-1`. */
  region?: string | undefined;
  /** The cluster's account, 12 digits; default `111122223333`. */
  account?: string | undefined;
  /** Default `aws`. */
  partition?: string | undefined;
  /** The `iss` of tokens; default `<url>/id/<32 hex digits>`, where the keys are served too. */
  issuer?: string | undefined;
  /** Keys of somebody else who signs tokens of this issuer, as in a JWKS: of a real API server. */
  issuerKeys?: readonly Readonly<Record<string, unknown>>[] | undefined;
  /** What tokens are signed with; default RS256, as on EKS. ES256 is faster. */
  keyAlgorithm?: 'RS256' | 'ES256' | undefined;
  /** Lifetime of pods' tokens; default 24 hours. */
  tokenLifetime?: DurationMs | undefined;
  /** Where token files go, and are renewed at 80 % of their lifetime; default nowhere. */
  tokenDirectory?: string | undefined;
  /** The node's own credentials; default new static ones. */
  nodeCredentials?: Credentials | undefined;
  /** Of everything random but keys, ids and secrets: latencies, faults; default 1. */
  seed?: number | undefined;
  /** How many events the audit log keeps; default 100,000. */
  auditCapacity?: number | undefined;
  /** Where to write traces that are sent to `/v1/traces` (OTLP); default: none are taken. */
  traceFile?: string | undefined;
  /** The node's clock; default the real time. */
  clock?: Clock | undefined;
}

const shape = object({
  ...settingsShape,
  host: optional(text({ max: 255 })),
  port: optional(number({ min: 0, max: 65_535, integer: true })),
  tls: optional(object({ key: text({ max: 1e6 }), cert: text({ max: 1e6 }) })),
  clusterName: optional(text({ pattern: /^[0-9A-Za-z][A-Za-z0-9\-_]*$/, max: 100 })),
  region: optional(text({ pattern: /^[a-z]{2}(-[a-z]+)+-\d+$/ })),
  account: optional(text({ pattern: /^\d{12}$/ })),
  partition: optional(text({ pattern: /^aws[a-z-]*$/ })),
  issuer: optional(text({ pattern: /^https?:\/\/\S+$/ })),
  issuerKeys: optional(listOf(record)),
  keyAlgorithm: optional(oneOf(['RS256', 'ES256'])),
  tokenLifetime: optional(number({ min: 1_000 })),
  tokenDirectory: optional(text({ max: 4_096 })),
  nodeCredentials: optional(
    object({
      accessKeyId: text({ pattern: /^\w{16,128}$/ }),
      secretAccessKey: text(),
      sessionToken: optional(text()),
      expiration: optional(number()),
    }),
  ),
  seed: optional(number({ integer: true })),
  auditCapacity: optional(number({ min: 1, max: 1e7, integer: true })),
  traceFile: optional(text({ max: 4_096 })),
  clock: optional((value: unknown) => value as Clock),
});

/**
 * Checks options and puts in the defaults.
 *
 * @throws TypeError that names the option.
 */
export function resolveOptions(options: SimulatorOptions) {
  const read = shape(options, '');
  const settings: Settings = {
    latency: read.latency ?? DEFAULT_SETTINGS.latency,
    quota: read.quota ?? DEFAULT_SETTINGS.quota,
    sessionLifetime: read.sessionLifetime ?? DEFAULT_SETTINGS.sessionLifetime,
    chainedSessionLifetime: read.chainedSessionLifetime ?? DEFAULT_SETTINGS.chainedSessionLifetime,
    associationDelay: read.associationDelay ?? DEFAULT_SETTINGS.associationDelay,
    clockOffset: read.clockOffset ?? DEFAULT_SETTINGS.clockOffset,
  };
  return {
    settings,
    host: read.host ?? '127.0.0.1',
    port: read.port ?? 0,
    tls: read.tls,
    clusterName: read.clusterName ?? 'simulated',
    region: read.region ?? 'us-east-1',
    account: read.account ?? '111122223333',
    partition: read.partition ?? 'aws',
    issuer: read.issuer,
    issuerKeys: read.issuerKeys ?? [],
    keyAlgorithm: read.keyAlgorithm ?? 'RS256',
    tokenLifetime: read.tokenLifetime ?? 24 * 3_600_000,
    tokenDirectory: read.tokenDirectory,
    nodeCredentials: read.nodeCredentials,
    seed: read.seed ?? 1,
    auditCapacity: read.auditCapacity ?? 100_000,
    traceFile: read.traceFile,
    clock: read.clock ?? systemClock,
  } as const;
}
