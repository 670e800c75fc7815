import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type Config,
  LINK_LOCAL_HOSTS,
  SESSION_SCOPES,
  type SessionScope,
  VERBOSITIES,
  type Verbosity,
} from './config.ts';
import { formatDuration, parseDuration } from './duration.ts';
import * as value from './values.ts';

/** Prefix of the environment variable behind every flag. */
export const ENVIRONMENT_PREFIX = 'POD_IDENTITY_BROKER_';

/** Flags as commander collects them, by their camel-case names. */
interface ServerFlags {
  clusterName: string;
  verbosity: Verbosity;
  port: number;
  bindHosts: string[];
  probePort: number;
  metricsAddress: string;
  metricsPort: number;
  clientWait: number;
  sessionScope: SessionScope;
  podScope: value.PodScopeRule[];
  maxCredentialRetentionBeforeRenewal: number;
  maxCacheSize: number;
  tokenIssuer?: URL;
  tokenAudience: string;
  jwksFile?: string;
  jwksUri?: URL;
  kubeconfig?: string;
  maxVerifiedTokens: number;
  maxUnverifiedQps: number;
  maxUnverifiedQpsPerAddress: number;
  endpoint?: URL;
  rotateCredentials: boolean;
  maxServiceQps: number;
  connectTimeout: number;
  attemptTimeout: number;
  flightTimeout: number;
  workers: number;
}

/** Makes a reader's TypeError the kind of error that commander reports with the flag's name. */
function reader<T>(read: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return read(text);
    } catch (error) {
      if (error instanceof TypeError) throw new InvalidArgumentError(`It ${sentence(error)}.`);
      throw error;
    }
  };
}

function sentence(error: TypeError): string {
  return error.message.startsWith('must ') ? error.message : `cannot be read: ${error.message}`;
}

/** Collects a repeatable flag; what the user gives takes the place of the default. */
function collector<T>(read: (text: string) => T[]): (text: string, previous: T[]) => T[] {
  const given: T[] = [];
  const readOne = reader(read);
  return (text) => {
    given.push(...readOne(text));
    return given;
  };
}

function option(flags: string, description: string): Option {
  const made = new Option(flags, description);
  return made.env(ENVIRONMENT_PREFIX + made.name().replaceAll('-', '_').toUpperCase());
}

function duration(flags: string, description: string, milliseconds: number): Option {
  return option(flags, description)
    .argParser(reader(parseDuration))
    .default(milliseconds, formatDuration(milliseconds));
}

/**
 * Adds the flags of `server` to a command: those of the existing agent with its spellings
 * and defaults, and the broker's own. Each can come from the environment too
 * (`POD_IDENTITY_BROKER_<FLAG>`); a flag wins over its variable.
 */
export function addServerOptions(command: Command): Command {
  const groups: Record<string, Option[]> = {
    'Cluster:': [
      option('-c, --cluster-name <name>', 'name of the EKS cluster')
        .argParser(reader(value.clusterName))
        .makeOptionMandatory(),
      option('--endpoint <url>', 'EKS Auth endpoint (default: the one of the region)').argParser(
        reader(value.url),
      ),
      option('--rotate-credentials [bool]', 'read the shared credentials file again every minute')
        .argParser(reader(value.boolean))
        .preset('true')
        .default(false),
      option('--kubeconfig <file>', 'access to the API server (default: in-cluster, if any)'),
    ],
    'Addresses:': [
      option('-b, --bind-hosts <address>', 'address to answer pods on (repeatable)')
        .argParser(collector(value.hosts))
        .default(LINK_LOCAL_HOSTS, LINK_LOCAL_HOSTS.join(', ')),
      option('-p, --port <port>', 'port to answer pods on')
        .argParser(reader(value.port))
        .default(80),
      option('--probe-port <port>', 'port of the probes, on localhost')
        .argParser(reader(value.port))
        .default(2703),
      option('--metrics-address <address>', 'address of the metrics endpoint')
        .argParser(reader(value.host))
        .default('0.0.0.0'),
      option('--metrics-port <port>', 'port of the metrics endpoint')
        .argParser(reader(value.port))
        .default(2705),
    ],
    'Sessions:': [
      option('--session-scope <scope>', `what shares a session: ${SESSION_SCOPES.join(', ')}`)
        .argParser(reader(value.oneOf(SESSION_SCOPES)))
        .default('service-account'),
      option(
        '--pod-scope <rule>',
        'namespace or namespace/service-account with a session a pod (repeatable)',
      )
        .argParser(collector((text) => text.split(',').map(value.podScopeRule)))
        .default([], 'none'),
      duration(
        '--max-credential-retention-before-renewal <duration>',
        'age at which credentials are renewed; 0: no cache',
        3 * 3_600_000,
      ),
      option('--max-cache-size <count>', 'sessions held at once; 0: no cache')
        .argParser(reader(value.wholeNumber(0, 1_000_000)))
        .default(2000),
    ],
    'Tokens:': [
      option('--token-issuer <url>', 'issuer of the tokens (default: found out)').argParser(
        reader(value.trustedUrl),
      ),
      option('--token-audience <audience>', 'audience that tokens must have').default(
        'pods.eks.amazonaws.com',
      ),
      option('--jwks-file <file>', "file with the issuer's public keys"),
      option('--jwks-uri <url>', "address of the issuer's public keys").argParser(
        reader(value.trustedUrl),
      ),
      option('--max-verified-tokens <count>', 'verified tokens remembered at once')
        .argParser(reader(value.wholeNumber(1, 1_000_000)))
        .default(8192),
      option(
        '--max-unverified-qps <rate>',
        'calls a second for tokens that cannot be verified here',
      )
        .argParser(reader(value.rate))
        .default(5),
      option('--max-unverified-qps-per-address <rate>', 'the same, for one caller')
        .argParser(reader(value.rate))
        .default(1),
    ],
    'Calls to EKS Auth:': [
      option('--max-service-qps <rate>', 'renewals a second')
        .argParser(reader(value.rate))
        .default(3),
      duration('--client-wait <duration>', 'how long a request waits for its credentials', 1900),
      duration('--connect-timeout <duration>', 'time to connect to EKS Auth', 1_000),
      duration('--attempt-timeout <duration>', 'time for one attempt at a call', 10_000),
      duration('--flight-timeout <duration>', 'time for a call with all its attempts', 30_000),
      option('--workers <count>', 'worker threads')
        .argParser(reader(value.wholeNumber(1, 64)))
        .default(1),
    ],
    'Output:': [
      option('-v, --verbosity <level>', `log level: ${VERBOSITIES.join(', ')}`)
        .argParser(reader(value.oneOf(VERBOSITIES)))
        .default('info'),
    ],
  };
  for (const [group, options] of Object.entries(groups)) {
    for (const one of options) command.addOption(one.helpGroup(group));
  }
  return command;
}

/**
 * Turns the flags that `command` has collected into the broker's configuration.
 *
 * @param command - A parsed command that {@link addServerOptions} has prepared.
 * @param environment - For what has no flag: `NODE_NAME`, the node that tokens must name.
 */
export function serverConfig(command: Command, environment: NodeJS.ProcessEnv): Config {
  const flags = command.opts<ServerFlags>();
  requirePositive(command, flags);
  return Object.freeze({
    clusterName: flags.clusterName,
    verbosity: flags.verbosity,
    port: flags.port,
    bindHosts: [...new Set(flags.bindHosts)],
    bindHostsNamed: command.getOptionValueSource('bindHosts') !== 'default',
    probePort: flags.probePort,
    metricsAddress: flags.metricsAddress,
    metricsPort: flags.metricsPort,
    clientWait: flags.clientWait,
    sessionScope: flags.sessionScope,
    podScope: flags.podScope,
    maxCredentialRetention: flags.maxCredentialRetentionBeforeRenewal,
    maxCacheSize: flags.maxCacheSize,
    tokenIssuer: flags.tokenIssuer?.href.replace(/\/$/, ''),
    tokenAudience: flags.tokenAudience,
    jwksFile: flags.jwksFile,
    jwksUri: flags.jwksUri,
    kubeconfig: flags.kubeconfig,
    nodeName: environment.NODE_NAME || undefined,
    maxVerifiedTokens: flags.maxVerifiedTokens,
    maxUnverifiedQps: flags.maxUnverifiedQps,
    maxUnverifiedQpsPerAddress: flags.maxUnverifiedQpsPerAddress,
    endpoint: flags.endpoint,
    rotateCredentials: flags.rotateCredentials,
    maxServiceQps: flags.maxServiceQps,
    connectTimeout: flags.connectTimeout,
    attemptTimeout: flags.attemptTimeout,
    flightTimeout: flags.flightTimeout,
    workers: flags.workers,
  });
}

/** Refuses what each flag allows by itself but no broker can run with. */
function requirePositive(command: Command, flags: ServerFlags): void {
  const waits = {
    '--client-wait': flags.clientWait,
    '--connect-timeout': flags.connectTimeout,
    '--attempt-timeout': flags.attemptTimeout,
    '--flight-timeout': flags.flightTimeout,
  };
  for (const [flag, given] of Object.entries(waits)) {
    if (given < 1) command.error(`error: ${flag} must be at least 1ms`);
  }
  const ports = new Map<number, string>();
  for (const [flag, given] of Object.entries({
    '--probe-port': flags.probePort,
    '--metrics-port': flags.metricsPort,
  })) {
    const taken = ports.get(given);
    if (taken !== undefined) command.error(`error: ${flag} and ${taken} are both ${given}`);
    ports.set(given, flag);
  }
}
