import type { DurationMs } from '../clock.ts';
import type { RedisConfig } from './redis-config.ts';
import type { PodScopeRule } from './values.ts';

/** The two addresses that EKS tells pods to ask (IPv4 and IPv6). */
export const LINK_LOCAL_HOSTS: readonly string[] = ['169.254.170.23', 'fd00:ec2::23'];

/** Where `flush` and the like find a broker that was told no other place. */
export const DEFAULT_ADMIN_SOCKET = '/run/pod-identity-broker/admin.sock';

/** What pods share one role session. */
export const SESSION_SCOPES = ['service-account', 'pod', 'token'] as const;
export type SessionScope = (typeof SESSION_SCOPES)[number];

/** What is made of requests that do not come from their token's pod. */
export const POD_WATCHES = ['off', 'audit', 'enforce'] as const;
export type PodWatchMode = (typeof POD_WATCHES)[number];

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
  /** Requests a second from one pod's address; 0: no bound. */
  readonly maxPodQps: number;
  /** Socket for the operator's commands. */
  readonly adminSocket: string;
  /** The socket was named by the user, so it has to be there. */
  readonly adminSocketNamed: boolean;
  /** What this process alone is asked for behind `/readyz/`. */
  readonly readyId: string | undefined;

  readonly sessionScope: SessionScope;
  /** Namespaces and service accounts whose sessions are a pod's own, whatever the scope. */
  readonly podScope: readonly PodScopeRule[];
  /** How old credentials get before they are renewed; 0: nothing is cached. */
  readonly maxCredentialRetention: DurationMs;
  /** Sessions held at once; 0: nothing is cached. */
  readonly maxCacheSize: number;
  /** Where sessions are kept over a restart, and shared; undefined: in memory only. */
  readonly redis: RedisConfig | undefined;

  readonly tokenIssuer: string | undefined;
  readonly tokenAudience: string;
  readonly jwksFile: string | undefined;
  readonly jwksUri: URL | undefined;
  /** Where the issuer's keys are kept over a restart. */
  readonly jwksCache: string | undefined;
  readonly kubeconfig: string | undefined;
  /** The node that tokens have to name, where they name one. */
  readonly nodeName: string | undefined;
  /** Whether tokens have to be presented by their pods, as the API server knows these. */
  readonly watchPods: PodWatchMode;
  /** Addresses that no pod of the node has are refused. */
  readonly strictAddress: boolean;
  /** Key of the taint that is taken off the node once the broker answers. */
  readonly startupTaint: string | undefined;
  readonly maxVerifiedTokens: number;
  readonly maxUnverifiedQps: number;
  readonly maxUnverifiedQpsPerAddress: number;

  readonly endpoint: URL | undefined;
  /** Use the region's FIPS endpoint. */
  readonly fips: boolean;
  readonly rotateCredentials: boolean;
  /** Renewals a second. */
  readonly maxServiceQps: number;
  /** Calls to EKS Auth a second, of all kinds; undefined: no bound until it throttles. */
  readonly maxCallQps: number | undefined;
  readonly connectTimeout: DurationMs;
  readonly attemptTimeout: DurationMs;
  readonly flightTimeout: DurationMs;
  readonly workers: number;

  /** A pod's own trace is the parent of its request's, and decides whether that is sampled. */
  readonly trustTraceparent: boolean;
  /** Metrics may name service accounts. */
  readonly metricsServiceAccounts: boolean;
}
