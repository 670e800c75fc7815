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

/**
 * Everything that can be set from outside, checked and frozen. Each member is a flag of the same
 * name unless it says otherwise, and has the flag's default.
 */
export interface Config {
  /** The EKS cluster whose pods are served. Required. */
  readonly clusterName: string;
  /** The least severe lines that are logged. Default is `info`. */
  readonly verbosity: Verbosity;

  /** Port that pods are answered on. Default is 80. */
  readonly port: number;
  /** Addresses that pods are answered on. Default is {@link LINK_LOCAL_HOSTS}. */
  readonly bindHosts: readonly string[];
  /** The addresses were named by the user, so each of them has to be there. No flag. */
  readonly bindHostsNamed: boolean;
  /** Port of the probes, on localhost. Default is 2703. */
  readonly probePort: number;
  /** Address of the metrics endpoint. Default is `0.0.0.0`. */
  readonly metricsAddress: string;
  /** Port of the metrics endpoint. Default is 2705. */
  readonly metricsPort: number;
  /** How long a request waits for its credentials. Default is 1.9 s. */
  readonly clientWait: DurationMs;
  /** Requests a second from one pod's address; 0: no bound. Default is 200. */
  readonly maxPodQps: number;
  /** Path of the socket for the operator's commands. Default is {@link DEFAULT_ADMIN_SOCKET}. */
  readonly adminSocket: string;
  /** The socket was named by the user, so it has to be there. No flag. */
  readonly adminSocketNamed: boolean;
  /** What this process alone is asked for behind `/readyz/`. Default is nothing. */
  readonly readyId: string | undefined;

  /** What pods share one role session. Default is `service-account`. */
  readonly sessionScope: SessionScope;
  /** Whose sessions are a pod's own where the scope is `service-account`. Default is nobody's. */
  readonly podScope: readonly PodScopeRule[];
  /**
   * How old credentials get before they are renewed; 0: nothing is cached. Default is 3 h.
   * `--max-credential-retention-before-renewal`.
   */
  readonly maxCredentialRetention: DurationMs;
  /** Sessions held at once; 0: nothing is cached. Default is 2,000. */
  readonly maxCacheSize: number;
  /**
   * Where sessions are kept over a restart, and shared: the flags that begin with `--redis-`.
   * Default is in memory only.
   */
  readonly redis: RedisConfig | undefined;

  /** The `iss` that tokens must have. Default is that it is found out. */
  readonly tokenIssuer: string | undefined;
  /** The `aud` that tokens must have. Default is `pods.eks.amazonaws.com`. */
  readonly tokenAudience: string;
  /** File with the issuer's public keys (JWKS). Default is none. */
  readonly jwksFile: string | undefined;
  /** Address of the issuer's public keys. Default is what its discovery document names. */
  readonly jwksUri: URL | undefined;
  /** Where the issuer's keys are kept over a restart. Default is nowhere. */
  readonly jwksCache: string | undefined;
  /** Access to the API server. Default is in-cluster, if any. */
  readonly kubeconfig: string | undefined;
  /** The node that tokens have to name, where they name one: `NODE_NAME`, not a flag. */
  readonly nodeName: string | undefined;
  /** Whether tokens have to be presented by their pods, as the API server knows these. Default is `off`. */
  readonly watchPods: PodWatchMode;
  /** Addresses that no pod of the node has are refused. Default is false. */
  readonly strictAddress: boolean;
  /** Key of the taint that is taken off the node once the broker answers. Default is none. */
  readonly startupTaint: string | undefined;
  /** Verified tokens remembered at once. Default is 8,192. */
  readonly maxVerifiedTokens: number;
  /** Calls to EKS Auth a second for tokens that cannot be verified. Default is 5. */
  readonly maxUnverifiedQps: number;
  /** The same for one source of requests: a pod's address, or the node. Default is 1. */
  readonly maxUnverifiedQpsPerAddress: number;

  /** Endpoint of EKS Auth. Default is that of the region. */
  readonly endpoint: URL | undefined;
  /** Use the region's FIPS endpoint: `AWS_USE_FIPS_ENDPOINT`, not a flag. Default is false. */
  readonly fips: boolean;
  /** Read the shared credentials file again every minute. Default is false. */
  readonly rotateCredentials: boolean;
  /** Renewals a second. Default is 3. */
  readonly maxServiceQps: number;
  /** Calls to EKS Auth a second, of all kinds. Default is no bound until it throttles. */
  readonly maxCallQps: number | undefined;
  /** Time to connect to EKS Auth. Default is 1 s. */
  readonly connectTimeout: DurationMs;
  /** Time for one attempt at a call. Default is 10 s. */
  readonly attemptTimeout: DurationMs;
  /** Time for a call with all its attempts. Default is 30 s. */
  readonly flightTimeout: DurationMs;
  /** Worker threads. Default is 1, whatever the machine has. */
  readonly workers: number;

  /** A pod's own trace is the parent of its request's, and decides whether that is sampled. Default is false. */
  readonly trustTraceparent: boolean;
  /** Metrics may name service accounts. Default is false. */
  readonly metricsServiceAccounts: boolean;
}
