import { type Command, Option } from 'commander';
import {
  type Config,
  DEFAULT_ADMIN_SOCKET,
  LINK_LOCAL_HOSTS,
  POD_WATCHES,
  type PodWatchMode,
  SESSION_SCOPES,
  type SessionScope,
  VERBOSITIES,
  type Verbosity,
} from './config.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { reader } from './flag-reader.ts';
import { type RedisFlags, redisConfig, redisOptions } from './redis-options.ts';
import { requireSeparateAddresses } from './separate-addresses.ts';
import * as value from './values.ts';

/** Prefix of the environment variable behind every flag. */
export const ENVIRONMENT_PREFIX = 'POD_IDENTITY_BROKER_';

/**
 * What Kubernetes adds for a Service that is named as the broker is.
 *
 * @see https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
const SERVICE_VARIABLE =
  /_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)$/;

/** Flags as commander collects them, by their camel-case names. */
interface ServerFlags extends RedisFlags {
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
  tokenIssuer?: string;
  tokenAudience: string;
  jwksFile?: string;
  jwksUri?: URL;
  jwksCache?: string;
  kubeconfig?: string;
  watchPods: PodWatchMode;
  strictAddress: boolean;
  startupTaint?: string;
  maxVerifiedTokens: number;
  maxUnverifiedQps: number;
  maxUnverifiedQpsPerAddress: number;
  endpoint?: URL;
  rotateCredentials: boolean;
  maxServiceQps: number;
  maxCallQps?: number;
  maxPodQps: number;
  adminSocket: string;
  readyId?: string;
  connectTimeout: number;
  attemptTimeout: number;
  flightTimeout: number;
  workers: number;
  trustTraceparent: boolean;
  metricsServiceAccounts: boolean;
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

/** A flag, and the variable of the environment behind it. */
function option(flags: string, description: string): Option {
  const made = new Option(flags, description);
  const variable = ENVIRONMENT_PREFIX + made.name().replaceAll('-', '_').toUpperCase();
  return isServiceAddress(process.env[variable]) ? made : made.env(variable);
}

/** Whether a variable (`POD_IDENTITY_BROKER_PORT`) is what Kubernetes adds for a Service. */
function isServiceAddress(value: string | undefined): boolean {
  return value !== undefined && /^(?:tcp|udp|sctp):\/\//.test(value);
}

function duration(flags: string, description: string, milliseconds: number): Option {
  return option(flags, description)
    .argParser(reader(parseDuration))
    .default(milliseconds, formatDuration(milliseconds));
}

/** A duration that has to be some time. */
function timeout(flags: string, description: string, milliseconds: number): Option {
  return duration(flags, description, milliseconds).argParser(
    reader((text) => {
      const given = parseDuration(text);
      if (given < 1) throw new TypeError('must be at least 1ms');
      return given;
    }),
  );
}

/** `--verbosity`, of every command that logs. */
export function verbosityOption(): Option {
  return (
    option('-v, --verbosity <level>', `log level: ${VERBOSITIES.join(', ')}`)
      // In letters of any case, as logrus takes them, which the existing agent logs with.
      .argParser(reader((text) => value.oneOf(VERBOSITIES)(text.toLowerCase())))
      .default('info')
  );
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
      option('--max-pod-qps <rate>', 'requests a second from one pod address; 0: no bound')
        .argParser(reader(value.rateOrZero))
        .default(200),
      option(
        '--ready-id <id>',
        'answer /readyz/<id> as well, until a successor is there',
      ).argParser(reader(value.pathSegment)),
      option('--admin-socket <path>', "socket of the operator's commands").default(
        DEFAULT_ADMIN_SOCKET,
      ),
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
        // No credentials live as long: more than that means no more than that.
      ).argParser(reader((text) => parseDuration(text, 'cut'))),
      option('--max-cache-size <count>', 'sessions held at once; 0: no cache')
        .argParser(reader(value.wholeNumber(0, 1_000_000)))
        .default(2000),
    ],
    'Tokens:': [
      option('--token-issuer <url>', 'issuer of the tokens (default: found out)').argParser(
        reader(value.issuer),
      ),
      option('--token-audience <audience>', 'audience that tokens must have').default(
        'pods.eks.amazonaws.com',
      ),
      option('--jwks-file <file>', "file with the issuer's public keys"),
      option('--jwks-uri <url>', "address of the issuer's public keys").argParser(
        reader(value.trustedUrl),
      ),
      option('--jwks-cache <file>', 'where the public keys are kept over a restart'),
      option('--max-verified-tokens <count>', 'verified tokens remembered at once')
        .argParser(reader(value.wholeNumber(1, 1_000_000)))
        .default(8192),
      option(
        '--max-unverified-qps <rate>',
        'calls a second for tokens that cannot be verified here',
      )
        .argParser(reader(value.rate))
        .default(5),
      option(
        '--max-unverified-qps-per-address <rate>',
        "the same, for one pod's address, or for all of the node's own together",
      )
        .argParser(reader(value.rate))
        .default(1),
    ],
    'Pods of this node:': [
      option(
        '--watch-pods <mode>',
        `what is made of tokens that their pod does not present: ${POD_WATCHES.join(', ')}`,
      )
        .argParser(reader(value.oneOf(POD_WATCHES)))
        .default('off'),
      option('--strict-address [bool]', 'refuse addresses that no pod of the node has')
        .argParser(reader(value.boolean))
        .default(false),
      option(
        '--startup-taint <key>',
        'taint that is taken off the node once the broker answers',
      ).argParser(reader(value.labelKey)),
    ],
    'Calls to EKS Auth:': [
      option(
        '--max-call-qps <rate>',
        'calls a second, of all kinds (default: no bound until throttled)',
      ).argParser(reader(value.rate)),
      option('--max-service-qps <rate>', 'renewals a second')
        .argParser(reader(value.rate))
        .default(3),
      timeout('--client-wait <duration>', 'how long a request waits for its credentials', 1900),
      timeout('--connect-timeout <duration>', 'time to connect to EKS Auth', 1_000),
      timeout('--attempt-timeout <duration>', 'time for one attempt at a call', 10_000),
      timeout('--flight-timeout <duration>', 'time for a call with all its attempts', 30_000),
      option('--workers <count>', 'worker threads')
        .argParser(reader(value.wholeNumber(1, 64)))
        .default(1),
    ],
    'Redis:': redisOptions(option, timeout),
    'Output:': [
      option('--trust-traceparent [bool]', "let pods' own traces be the parents of ours")
        .argParser(reader(value.boolean))
        .default(false),
      option('--metrics-service-accounts [bool]', 'name service accounts in metrics')
        .argParser(reader(value.boolean))
        .default(false),
      verbosityOption(),
    ],
  };
  for (const [group, options] of Object.entries(groups)) {
    for (const one of options) command.addOption(one.helpGroup(group));
  }
  return command;
}

/**
 * Variables that are named as if they were behind a flag, but are not: most likely misspelt.
 *
 * @param command - One that {@link addServerOptions} has prepared.
 * @param others - Variables of other commands.
 */
export function unknownVariables(
  command: Command,
  environment: NodeJS.ProcessEnv,
  others: readonly string[],
): string[] {
  const known = new Set([...command.options.map(({ envVar }) => envVar), ...others]);
  return Object.keys(environment).filter(
    (name) =>
      name.startsWith(ENVIRONMENT_PREFIX) &&
      !known.has(name) &&
      !SERVICE_VARIABLE.test(name) &&
      !isServiceAddress(environment[name]),
  );
}

/**
 * Turns the flags that `command` has collected into the broker's configuration.
 *
 * @param command - A parsed command that {@link addServerOptions} has prepared.
 * @param environment - For what has no flag: `NODE_NAME`, the node that tokens must name, and
 *   `AWS_USE_FIPS_ENDPOINT`, which all AWS SDKs read.
 */
export function serverConfig(command: Command, environment: NodeJS.ProcessEnv): Config {
  const flags = command.opts<ServerFlags>();
  requireSeparateAddresses(command, flags);
  requireNodeName(command, flags, environment);
  return Object.freeze({
    clusterName: flags.clusterName,
    verbosity: flags.verbosity,
    port: flags.port,
    bindHosts: Object.freeze([...new Set(flags.bindHosts)]),
    bindHostsNamed: command.getOptionValueSource('bindHosts') !== 'default',
    probePort: flags.probePort,
    metricsAddress: flags.metricsAddress,
    metricsPort: flags.metricsPort,
    clientWait: flags.clientWait,
    sessionScope: flags.sessionScope,
    podScope: Object.freeze([...flags.podScope]),
    maxCredentialRetention: flags.maxCredentialRetentionBeforeRenewal,
    maxCacheSize: flags.maxCacheSize,
    redis: redisConfig(command, flags, environment),
    tokenIssuer: flags.tokenIssuer,
    tokenAudience: flags.tokenAudience,
    jwksFile: flags.jwksFile,
    jwksUri: flags.jwksUri,
    jwksCache: flags.jwksCache,
    kubeconfig: flags.kubeconfig,
    nodeName: environment.NODE_NAME || undefined,
    watchPods: flags.watchPods,
    strictAddress: flags.strictAddress,
    startupTaint: flags.startupTaint,
    maxVerifiedTokens: flags.maxVerifiedTokens,
    maxUnverifiedQps: flags.maxUnverifiedQps,
    maxUnverifiedQpsPerAddress: flags.maxUnverifiedQpsPerAddress,
    endpoint: flags.endpoint,
    fips: /^true$/i.test(environment.AWS_USE_FIPS_ENDPOINT ?? ''),
    rotateCredentials: flags.rotateCredentials,
    maxServiceQps: flags.maxServiceQps,
    maxCallQps: flags.maxCallQps,
    maxPodQps: flags.maxPodQps,
    adminSocket: flags.adminSocket,
    readyId: flags.readyId,
    adminSocketNamed: command.getOptionValueSource('adminSocket') !== 'default',
    connectTimeout: flags.connectTimeout,
    attemptTimeout: flags.attemptTimeout,
    flightTimeout: flags.flightTimeout,
    workers: flags.workers,
    trustTraceparent: flags.trustTraceparent,
    metricsServiceAccounts: flags.metricsServiceAccounts,
  });
}

/** Refuses what is about this node where nothing says which one that is. */
function requireNodeName(
  command: Command,
  flags: ServerFlags,
  environment: NodeJS.ProcessEnv,
): void {
  if (flags.strictAddress && flags.watchPods === 'off') {
    command.error('error: --strict-address needs --watch-pods=audit or --watch-pods=enforce');
  }
  if (environment.NODE_NAME) return;
  if (flags.watchPods !== 'off') {
    command.error(`error: --watch-pods=${flags.watchPods} needs NODE_NAME, the name of this node`);
  }
  if (flags.startupTaint !== undefined) {
    command.error('error: --startup-taint needs NODE_NAME, the name of this node');
  }
}
