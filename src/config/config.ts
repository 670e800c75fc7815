import type { DurationMs } from '../clock.ts';
import type { PodScopeRule } from './values.ts';

/** The two addresses that EKS tells pods to ask (IPv4 and IPv6). */
export const LINK_LOCAL_HOSTS: readonly string[] = ['169.254.170.23', 'fd00:ec2::23'];

/** What pods share one role session. */
export const SESSION_SCOPES = ['service-account', 'pod', 'token'] as const;
export type SessionScope = (typeof SESSION_SCOPES)[number];

/** Levels of the existing agent's `--verbosity`, most severe first. */
export const VERBOSITIES = [
  'panic',
  'fatal',
  'error',
  'warn',
  'warning',
  'info',
  'debug',
  'trace',
] as const;
export type Verbosity = (typeof VERBOSITIES)[number];

/** Everything that can be set from outside, checked and frozen. */
export interface Config {
  readonly clusterName: string;
  readonly verbosity: Verbosity;

  readonly port: number;
  readonly bindHosts: readonly string[];
  /** The addresses were named by the user, so each of them has to be there. */
  readonly bindHostsNamed: boolean;
  readonly probePort: number;
  readonly metricsAddress: string;
  readonly metricsPort: number;
  readonly clientWait: DurationMs;

  readonly sessionScope: SessionScope;
  /** Namespaces and service accounts whose sessions are a pod's own, whatever the scope. */
  readonly podScope: readonly PodScopeRule[];
  /** How old credentials get before they are renewed; 0: nothing is cached. */
  readonly maxCredentialRetention: DurationMs;
  /** Sessions held at once; 0: nothing is cached. */
  readonly maxCacheSize: number;

  readonly tokenIssuer: string | undefined;
  readonly tokenAudience: string;
  readonly jwksFile: string | undefined;
  readonly jwksUri: URL | undefined;
  readonly kubeconfig: string | undefined;
  /** The node that tokens have to name, where they name one. */
  readonly nodeName: string | undefined;
  readonly maxVerifiedTokens: number;
  readonly maxUnverifiedQps: number;
  readonly maxUnverifiedQpsPerAddress: number;

  readonly endpoint: URL | undefined;
  readonly rotateCredentials: boolean;
  readonly maxServiceQps: number;
  readonly connectTimeout: DurationMs;
  readonly attemptTimeout: DurationMs;
  readonly flightTimeout: DurationMs;
  readonly workers: number;
}
