import { hostname } from 'node:os';
import type { Command, Option } from 'commander';
import type { DurationMs } from '../clock.ts';
import type { SessionScope } from './config.ts';
import { reader } from './flag-reader.ts';
import { REDIS_SHARINGS, type RedisConfig, type RedisSharing } from './redis-config.ts';
import { type RedisTarget, redisTarget } from './redis-url.ts';
import * as value from './values.ts';

/** The flags as commander collects them. */
export interface RedisFlags {
  redisUrl?: RedisTarget;
  redisSharing: RedisSharing;
  redisKeyFile?: string;
  redisUsername?: string;
  redisPasswordFile?: string;
  redisSentinelUsername?: string;
  redisSentinelPasswordFile?: string;
  redisCaFile?: string;
  redisBudget: DurationMs;
}

/** The flags that {@link redisConfig} looks at besides its own. */
interface OtherFlags {
  readonly sessionScope: SessionScope;
  readonly maxCredentialRetentionBeforeRenewal: DurationMs;
  readonly maxCacheSize: number;
}

const DEFAULT_BUDGET: DurationMs = 50;

/**
 * The flags of Redis.
 *
 * @param option - Makes a flag.
 * @param timeout - Makes a flag that is some time.
 */
export function redisOptions(
  option: (flags: string, description: string) => Option,
  timeout: (flags: string, description: string, milliseconds: DurationMs) => Option,
): Option[] {
  return [
    option(
      '--redis-url <url>',
      'Redis that keeps sessions over a restart (default: none)',
    ).argParser(reader(redisTarget)),
    option('--redis-sharing <who>', `who shares them: ${REDIS_SHARINGS.join(', ')}`)
      .argParser(reader(value.oneOf(REDIS_SHARINGS)))
      .default('node'),
    option('--redis-key-file <file>', 'keys that they are sealed under: one or two, in base64'),
    option('--redis-username <name>', 'ACL user'),
    option('--redis-password-file <file>', 'file with the password'),
    option('--redis-sentinel-username <name>', 'ACL user of the sentinels'),
    option('--redis-sentinel-password-file <file>', 'file with their password'),
    option('--redis-ca-file <file>', 'certificates to trust (PEM)'),
    timeout(
      '--redis-budget <duration>',
      'how long Redis may hold up a request that finds no session',
      DEFAULT_BUDGET,
    ),
  ];
}

/**
 * Reads the flags of Redis; those that do not go together end the program.
 *
 * @param environment - For `NODE_NAME`, by which a node finds its own sessions again. Without
 *   it the machine's host name has to do.
 */
export function redisConfig(
  command: Command,
  flags: RedisFlags & OtherFlags,
  environment: NodeJS.ProcessEnv,
): RedisConfig | undefined {
  const fault = whatDoesNotFit(command, flags);
  if (fault !== undefined) command.error(`error: ${fault}`);
  const { redisUrl: target, redisKeyFile: keyFile } = flags;
  if (target === undefined || keyFile === undefined) return undefined;
  return Object.freeze({
    target,
    sharing: flags.redisSharing,
    keyFile,
    username: flags.redisUsername,
    passwordFile: flags.redisPasswordFile,
    sentinelUsername: flags.redisSentinelUsername,
    sentinelPasswordFile: flags.redisSentinelPasswordFile,
    caFile: flags.redisCaFile,
    budget: flags.redisBudget,
    nodeName: environment.NODE_NAME || hostname(),
  });
}

function whatDoesNotFit(command: Command, flags: RedisFlags & OtherFlags): string | undefined {
  const { redisUrl, redisSharing, sessionScope } = flags;
  if (redisUrl === undefined) {
    const [useless] = command.options
      .filter((option) => option.long?.startsWith('--redis-'))
      .filter((option) => {
        const source = command.getOptionValueSource(option.attributeName());
        return source !== undefined && source !== 'default';
      });
    return useless && `${useless.long} needs --redis-url`;
  }
  if (flags.redisKeyFile === undefined) return '--redis-url needs --redis-key-file';
  if (flags.redisCaFile !== undefined && !redisUrl.tls) {
    return '--redis-ca-file needs a --redis-url that begins with rediss';
  }
  if (flags.redisUsername !== undefined && flags.redisPasswordFile === undefined) {
    return '--redis-username needs --redis-password-file';
  }
  if (flags.redisSentinelPasswordFile !== undefined && redisUrl.kind !== 'sentinel') {
    return '--redis-sentinel-password-file needs a --redis-url with +sentinel';
  }
  if (flags.redisSentinelUsername !== undefined && flags.redisSentinelPasswordFile === undefined) {
    return '--redis-sentinel-username needs --redis-sentinel-password-file';
  }
  if (redisSharing === 'cluster' && sessionScope !== 'service-account') {
    return `--redis-sharing cluster has nothing to share with --session-scope ${sessionScope}`;
  }
  if (flags.maxCacheSize === 0) return '--redis-url has no use with --max-cache-size 0';
  if (flags.maxCredentialRetentionBeforeRenewal === 0) {
    return '--redis-url has no use with --max-credential-retention-before-renewal 0';
  }
  return undefined;
}
