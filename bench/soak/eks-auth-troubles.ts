import type { DurationMs } from '../../src/clock.ts';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import { EKS_AUTH_FAULTS, type Fault } from '../../src/simulator/faults.ts';
import type { SettingsChange } from '../../src/simulator/settings.ts';
import type { Chance } from '../harness/chance.ts';
import type { Gate } from './gate.ts';
import type { Health } from './health.ts';
import { outage } from './outage.ts';
import type { Timing } from './timing.ts';
import type { Trouble } from './troubles.ts';
import type { World } from './world.ts';

/** Every fault that the simulator has, and what else can become of EKS Auth. */
export const EKS_AUTH_TROUBLES = [...EKS_AUTH_FAULTS, 'outage', 'latency', 'quota'] as const;
export type EksAuthTrouble = (typeof EKS_AUTH_TROUBLES)[number];

/** EKS Auth when it is well; never at once, so that calls can meet. */
export const WELL: SettingsChange = { latency: { median: 40, sigma: 0.5 }, quota: null };

/** What is left of a fault, and of the broker's caution, goes within this time. */
const RECOVERY: DurationMs = 8_000;
/** After a throttle the broker feels its way up from what it was granted. */
const RECOVERY_FROM_THROTTLING: DurationMs = 45_000;

/** Of every answer; the first three hold others. */
const FIELDS = [
  'credentials',
  'subject',
  'assumedRoleUser',
  'credentials.accessKeyId',
  'credentials.secretAccessKey',
  'credentials.sessionToken',
  'credentials.expiration',
  'subject.namespace',
  'subject.serviceAccount',
  'audience',
];
const EXPIRIES = ['tomorrow', '', null, -1, 0, 1e15];
const ERRORS = [
  { code: 'InternalFailure', status: 500 },
  { code: 'BadGateway', status: 502 },
  { code: 'GatewayTimeout', status: 504 },
  { code: 'UnrecognizedClientException', status: 403 },
  { code: 'InvalidSignatureException', status: 403 },
  { code: 'TooManyRequestsException', status: 429 },
  { code: 'InvalidRequestException', status: 400 },
  { code: 'InvalidTokenException', status: 400 },
  { code: 'ExpiredTokenException', status: 400 },
  { code: 'ResourceNotFoundException', status: 404 },
];

/** What {@link eksAuthTrouble} needs. */
export interface EksAuthTroubleOptions {
  readonly simulator: RemoteSimulator;
  readonly gate: Gate;
  readonly world: World;
  readonly chance: Chance;
  readonly timing: Timing;
  readonly issuerHealth: Health;
}

/** Makes a trouble of a kind, with everything about it that is left to chance. */
export function eksAuthTrouble(kind: EksAuthTrouble, options: EksAuthTroubleOptions): Trouble {
  const { simulator, gate, chance } = options;
  switch (kind) {
    case 'outage':
      return outage(simulator, gate, options.issuerHealth, RECOVERY);
    case 'latency':
      return setting(options, 'latency', {
        latency: { median: chance.between(200, 2_500), sigma: 0.8 },
      });
    case 'quota':
      return setting(options, 'quota', {
        quota: { rate: chance.between(1, 5), burst: chance.whole(1, 5) },
      });
    default:
      return injected({ kind, ...detailsOf(kind, chance), ...targetOf(options) }, options);
  }
}

function setting(options: EksAuthTroubleOptions, name: string, change: SettingsChange): Trouble {
  const { simulator, gate, timing } = options;
  const set = async (to: SettingsChange) => {
    await gate.pass(() => simulator.eksAuth.set(to));
  };
  return {
    name,
    recovery: name === 'quota' ? RECOVERY_FROM_THROTTLING : timing.attemptTimeout + RECOVERY,
    begin: () => set(change),
    end: () => set(WELL),
  };
}

function injected(fault: Fault, { simulator, gate, timing }: EksAuthTroubleOptions): Trouble {
  const throttles = fault.kind === 'throttle' || fault.code === 'TooManyRequestsException';
  let id: string | undefined;
  return {
    name: fault.kind,
    recovery: throttles ? RECOVERY_FROM_THROTTLING : timing.attemptTimeout + RECOVERY,
    begin: async () => {
      id = await gate.pass(() => simulator.faults.add(fault));
    },
    end: async () => {
      if (id !== undefined) await gate.pass(() => simulator.faults.clear(id));
    },
  };
}

function detailsOf(kind: Fault['kind'], chance: Chance): Partial<Fault> {
  switch (kind) {
    case 'slow':
      return { delay: chance.between(300, 6_000) };
    case 'missing-field':
      return { field: chance.pick(FIELDS) };
    case 'wrong-expiry':
      return { expiration: chance.pick(EXPIRIES) };
    case 'error':
      return chance.pick(ERRORS);
    default:
      return {};
  }
}

/** Whom a fault meets: mostly everybody. */
function targetOf({ chance, world }: EksAuthTroubleOptions): Partial<Fault> {
  const { namespace, name } = chance.pick(world.accounts);
  return chance.pick([
    {},
    {},
    {},
    { probability: chance.between(0.2, 0.8) },
    { namespace, serviceAccount: name },
  ]);
}
