import { setTimeout as pause } from 'node:timers/promises';
import { Command, Option } from 'commander';
import type { BrokerStatus } from '../broker/status.ts';
import type { DurationMs } from '../clock.ts';
import { parseDuration } from '../config/duration.ts';
import { reader } from '../config/flag-reader.ts';
import { AdminClientError, askBroker } from '../listener/admin-client.ts';
import type { SessionStatus } from '../sessions/session-status.ts';
import { adminSocketOption, reportingFailure } from './admin-option.ts';
import { table } from './table.ts';

interface StatusFlags {
  adminSocket: string;
  json?: true;
  watch?: number;
}

/** How often `--watch` looks when it is not told. */
const WATCH_INTERVAL = '2s';
/** Moves the cursor home and clears what is below (ECMA-48). */
const CLEAR_SCREEN = '\x1b[H\x1b[J';

/** `status`: what the broker on this node holds, and how it is doing. */
export function statusCommand(): Command {
  return new Command('status')
    .description('show the sessions of the broker on this node')
    .option('--json', 'as JSON')
    .addOption(
      new Option('--watch [interval]', `show it again and again (default: every ${WATCH_INTERVAL})`)
        .argParser(reader(interval))
        .preset(WATCH_INTERVAL),
    )
    .addOption(adminSocketOption())
    .action(async ({ adminSocket, json, watch }: StatusFlags) => {
      await reportingFailure(async () => {
        const look = async () => {
          const status = (await askBroker(adminSocket, 'GET', '/status')) as BrokerStatus;
          return json ? `${JSON.stringify(status)}\n` : shown(status);
        };
        process.stdout.write(clearing(watch, json) + (await look()));
        if (watch !== undefined) await keepShowing(look, watch, json);
      });
    });
}

/**
 * Shows it every `interval` until a signal ends the process. A broker that is not there for a
 * while, as during an upgrade, is told of and waited for.
 */
async function keepShowing(
  look: () => Promise<string>,
  interval: DurationMs,
  json: true | undefined,
): Promise<never> {
  // Whoever reads has seen enough, as `head` has.
  process.stdout.on('error', () => process.exit());
  for (;;) {
    await pause(interval);
    try {
      process.stdout.write(clearing(interval, json) + (await look()));
    } catch (error) {
      if (!(error instanceof AdminClientError)) throw error;
      if (!json) process.stdout.write(clearing(interval, json));
      process.stderr.write(`error: ${error.message}\n`);
    }
  }
}

function clearing(watch: DurationMs | undefined, json: true | undefined): string {
  return watch !== undefined && !json && process.stdout.isTTY ? CLEAR_SCREEN : '';
}

function interval(text: string): number {
  const given = parseDuration(text);
  if (given < 100) throw new TypeError('must be at least 100ms');
  return given;
}

const COLUMNS = [
  ...['NAMESPACE', 'SERVICE ACCOUNT', 'SCOPE', 'ROLE', 'PODS', 'SERVED', 'SAVED'],
  ...['AGE', 'EXPIRES IN', 'RENEWS IN', 'STATE', 'LAST ERROR'],
];
const NUMBERS: ReadonlySet<number> = new Set([4, 5, 6, 7, 8, 9]);

/** The status as a table, the busiest sessions of each namespace first. */
export function shown(status: BrokerStatus): string {
  const now = Date.parse(status.now);
  const sessions = [...status.sessions].sort(
    (a, b) => a.namespace.localeCompare(b.namespace) || b.served - a.served,
  );
  return [
    ...summary(status).map((line) => `${line}\n`),
    '\n',
    table([COLUMNS, ...sessions.map((session) => row(session, now))], NUMBERS),
  ].join('');
}

function summary(status: BrokerStatus): string[] {
  const { sessions, calls, keys, nodeCredentials, addresses, redis, pods } = status;
  const saved = sessions.reduce((sum, { callsSaved }) => sum + callsSaved, 0);
  const served = sessions.reduce((sum, session) => sum + session.served, 0);
  const rate = calls.rate === null ? '' : `, ${calls.rate.toFixed(1)} calls/s`;
  const trust = keys.proven ? 'tokens verify' : 'no token has verified yet';
  return [
    `pod-identity-broker ${status.version}, cluster ${status.clusterName}`,
    `sessions  ${sessions.length}: served ${served} times, ${saved} calls saved`,
    `EKS Auth  ${PACE[calls.pace]}${rate}; ${calls.underWay} calls under way, ${calls.waiting} waiting`,
    `keys      ${keys.usable ? trust : 'none: EKS Auth judges every token'}; issuer ${keys.issuer ?? 'not known yet'}`,
    `node      ${nodeCredentials.usable ? 'has AWS credentials' : (nodeCredentials.failure ?? 'has no AWS credentials yet')}`,
    `addresses ${addresses.bound} of ${addresses.expected} bound`,
    ...(redis === null ? [] : [`Redis     ${redisLine(redis)}`]),
    ...(pods === null
      ? []
      : [
          `pods      ${pods.mode}: ${pods.known} known, ${pods.connected ? 'watched' : 'not watched now'}`,
        ]),
  ];
}

function redisLine({
  sharing,
  circuit,
  reason,
  writesWaiting,
  unsubscribedReason,
}: NonNullable<BrokerStatus['redis']>) {
  const what =
    sharing === 'node' ? 'keeps the sessions of this node' : 'shares the sessions of the cluster';
  const how = circuit === 'closed' ? '' : `; not asked now: ${reason}`;
  const deaf =
    unsubscribedReason === null ? '' : `; does not hear other brokers: ${unsubscribedReason}`;
  return `${what}; circuit ${circuit}${how}; ${writesWaiting} writes waiting${deaf}`;
}

const PACE = {
  unlimited: 'calls not limited',
  throttled: 'throttling',
  failing: 'failing',
  recovering: 'recovering',
} as const;

function row(session: SessionStatus, now: number): string[] {
  const { scope, pods, served, callsSaved, state, lastError, assumedRoleArn } = session;
  return [
    session.namespace,
    session.serviceAccount,
    scope,
    // arn:<partition>:sts::<account>:assumed-role/<role>/<session name>
    assumedRoleArn?.split('/')[1] ?? '-',
    String(pods),
    String(served),
    String(callsSaved),
    since(session.fetchedAt, now),
    until(session.expiresAt, now),
    until(session.renewsAt, now),
    state,
    lastError?.code ?? '-',
  ];
}

function since(date: string | undefined, now: number): string {
  return date === undefined ? '-' : short(now - Date.parse(date));
}

function until(date: string | undefined, now: number): string {
  return date === undefined ? '-' : short(Date.parse(date) - now);
}

/** A duration in its two largest units. */
function short(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1_000));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${seconds % 60}s`;
  return `${Math.floor(minutes / 60)}h${minutes % 60}m`;
}
