import type { DurationMs } from '../../src/clock.ts';
import type { SessionScope } from '../../src/config/config.ts';
import { CallPace } from '../../src/sessions/call-pace.ts';
import { CallQueue } from '../../src/sessions/call-queue.ts';
import { Flights } from '../../src/sessions/flights.ts';
import type { LiveToken } from '../../src/sessions/recent-tokens.ts';
import { RoleSessions } from '../../src/sessions/role-sessions.ts';
import { sessionKey } from '../../src/sessions/session-key.ts';
import type { Random } from '../../src/simulator/random.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import type { PodIdentity } from '../../src/tokens/claims.ts';
import type { AssumeRoleOutcome } from '../../src/workers/assume-role.ts';
import { VirtualClock } from './virtual-clock.ts';

const HOUR: DurationMs = 3_600_000;
const AUDIENCE = 'pods.eks.amazonaws.com';
/** As in the real service. */
const CREDENTIALS_LIVE: DurationMs = 6 * HOUR;
const TOKENS_LIVE: DurationMs = 24 * HOUR;
/** The kubelet replaces tokens at this part of their life. */
const ROTATED_AT = 0.8;
/** JavaScript's and Go's SDKs ask again with so much left. */
const REFRESHED_WITH_LEFT: DurationMs = 5 * 60_000;
/** As the broker is by default. */
const RETENTION: DurationMs = 3 * HOUR;
const RENEWALS_PER_SECOND = 3;

/** A node whose pods live for days. */
export interface NodeDay {
  readonly scope: SessionScope;
  readonly pods: number;
  readonly processes: number;
  readonly serviceAccounts: number;
  readonly latency: DurationMs;
  /** How long it is let run before, and while, its calls are counted. */
  readonly settleHours: number;
  readonly countHours: number;
  readonly random: Random;
}

/**
 * Lets the broker's own sessions live through days on a virtual clock: pods whose processes
 * refresh their credentials as SDKs do and whose tokens rotate as the kubelet does it.
 *
 * @returns Calls to EKS Auth an hour.
 */
export async function callsPerHour(day: NodeDay): Promise<number> {
  const { scope, random } = day;
  const clock = new VirtualClock();
  let calls = 0;
  const tokens = new Map<string, PodIdentity>();
  const assumeRole = async (token: string): Promise<AssumeRoleOutcome> => {
    calls += 1;
    await new Promise<void>((resolve) => clock.setTimeout(resolve, day.latency));
    return granted(tokens.get(token) as PodIdentity, clock.now() + CREDENTIALS_LIVE);
  };
  const log = silentLog;
  const sessions = new RoleSessions({
    clock,
    log,
    random,
    flights: new Flights({
      clock,
      log,
      random,
      assumeRole,
      audience: AUDIENCE,
      queue: new CallQueue(clock, new CallPace(clock), RENEWALS_PER_SECOND),
      flightTimeout: 30_000,
      onCall: () => undefined,
      onUnexpected: () => undefined,
    }),
    maxCredentialRetention: RETENTION,
    maxCacheSize: 2_000,
    onRenewal: () => undefined,
    onEviction: () => undefined,
  });
  /** One process asks, and again when its credentials come to their end. */
  const ask = (current: () => LiveToken): void => {
    const live = current();
    const key = sessionKey(live.pod, live.token, scope);
    const servable = sessions.servable(key, clock.now());
    if (servable !== undefined) sessions.renewIfDue(servable, live, clock.now());
    const opened = sessions.open(key, scope, live, 'foreground');
    const refreshAt = (expiresAt: number) =>
      clock.setTimeout(
        () => ask(current),
        Math.max(1_000, expiresAt - clock.now() - REFRESHED_WITH_LEFT),
      );
    if (opened.kind === 'credentials') refreshAt(opened.credentials.expiresAt);
    else if (opened.kind === 'fetch') {
      void opened.fetch.settled.then((outcome) => {
        if (outcome.ok) refreshAt(outcome.credentials.expiresAt);
      });
    }
  };
  for (let index = 0; index < day.pods; index += 1) {
    const startAt = random() * HOUR;
    let live: LiveToken;
    const rotate = (generation: number): void => {
      live = tokenOf(index, generation, day.serviceAccounts, clock);
      tokens.set(live.token, live.pod);
      clock.setTimeout(() => rotate(generation + 1), TOKENS_LIVE * ROTATED_AT);
    };
    clock.setTimeout(() => rotate(0), startAt);
    for (let one = 0; one < day.processes; one += 1) {
      clock.setTimeout(() => ask(() => live), startAt + random() * 60_000);
    }
  }
  await clock.advanceTo(day.settleHours * HOUR);
  const before = calls;
  await clock.advanceTo((day.settleHours + day.countHours) * HOUR);
  sessions.stop();
  return (calls - before) / day.countHours;
}

function tokenOf(
  index: number,
  generation: number,
  serviceAccounts: number,
  clock: VirtualClock,
): LiveToken {
  const account = `account-${index % serviceAccounts}`;
  const pod: PodIdentity = {
    namespace: 'bench',
    serviceAccount: account,
    serviceAccountUid: `uid-of-${account}`,
    pod: `pod-${index}`,
    podUid: `uid-of-pod-${index}`,
    node: undefined,
    issuer: 'https://issuer.example',
    notBefore: clock.now(),
    expiresAt: clock.now() + TOKENS_LIVE,
  };
  return { token: `token ${generation} of pod ${index}`, pod };
}

function granted({ namespace, serviceAccount }: PodIdentity, expiresAt: number): AssumeRoleOutcome {
  return {
    ok: true,
    role: {
      accessKeyId: 'ASIAEXAMPLE',
      secretAccessKey: 'example',
      sessionToken: 'example',
      expiresAt,
      subject: { namespace, serviceAccount },
      audience: AUDIENCE,
      associationArn: 'arn:aws:eks:us-east-1:111122223333:podidentityassociation/c/a-1',
      associationId: 'a-1',
      assumedRoleArn: `arn:aws:sts::111122223333:assumed-role/${serviceAccount}/session`,
      assumedRoleId: 'AROAEXAMPLE:session',
      requestId: 'example',
    },
  };
}
