import { setTimeout as pause } from 'node:timers/promises';
import type { DurationMs } from '../../clock.ts';
import type { RemoteSimulator } from '../control-client.ts';

/** After how long the broker in trouble renews, as a flag's value. */
export const TROUBLE_RENEWAL = '2s';
const WITHIN: DurationMs = 30_000;

/** Where trouble is made. */
export interface TroubleOptions {
  readonly simulator: RemoteSimulator;
  readonly namespace: string;
  /** Of a broker that renews after {@link TROUBLE_RENEWAL}, as this process reaches it. */
  readonly credentialsUrl: string;
  readonly signal: AbortSignal;
}

/**
 * Makes what a quiet run has none of, for the traces: calls that are throttled and fail before
 * they succeed, a renewal, a stale session, tokens that are refused, an EKS Auth that is away.
 */
export async function causeTrouble(options: TroubleOptions): Promise<void> {
  // One after the other: what fails slows all calls down.
  await refusals(options);
  await troubledFetch(options);
  await staleness(options);
  await outage(options);
  await options.simulator.faults.clear();
}

/** Two requests at once; the one call that both wait for is throttled, then fails, then succeeds. */
async function troubledFetch(options: TroubleOptions): Promise<void> {
  const { simulator, namespace } = options;
  const serviceAccount = await associate(options, 'troubled');
  await simulator.faults.add({ kind: 'throttle', calls: 1, serviceAccount });
  await simulator.faults.add({ kind: 'internal-error', calls: 1, serviceAccount });
  const pods = await Promise.all(
    [1, 2].map(() => simulator.kubelet.createPod({ namespace, serviceAccount })),
  );
  await Promise.all(pods.map(({ token }) => ask(options, token)));
}

/** A token that somebody changed, and a service account that has no role. */
async function refusals(options: TroubleOptions): Promise<void> {
  const { simulator, namespace } = options;
  const { token } = await simulator.kubelet.createPod({ namespace, serviceAccount: 'roleless' });
  await ask(options, token);
  const signature = token.lastIndexOf('.') + 1;
  await ask(options, `${token.slice(0, signature)}${'A'.repeat(token.length - signature)}`);
}

/** EKS Auth fails for as long as the request may wait. */
async function outage(options: TroubleOptions): Promise<void> {
  const { simulator, namespace } = options;
  const serviceAccount = await associate(options, 'unlucky');
  await simulator.faults.add({ kind: 'unavailable', serviceAccount });
  const { token } = await simulator.kubelet.createPod({ namespace, serviceAccount });
  await ask(options, token);
}

/** A session that is renewed, and then is not. */
async function staleness(options: TroubleOptions): Promise<void> {
  const { simulator, namespace } = options;
  const serviceAccount = await associate(options, 'renewed');
  const { token } = await simulator.kubelet.createPod({ namespace, serviceAccount });
  const deadline = performance.now() + WITHIN;
  while ((await ask(options, token)) !== 200 && performance.now() < deadline);
  await ask(options, token);
  await calls(options, serviceAccount, 2);
  await simulator.faults.add({ kind: 'unavailable', serviceAccount });
  await ask(options, token);
  await calls(options, serviceAccount, 3);
  // The broker has its answer a moment after EKS Auth has given it.
  for (let request = 0; request < 4; request += 1) {
    await pause(250, undefined, { signal: options.signal });
    await ask(options, token);
  }
}

async function associate(
  { simulator, namespace }: TroubleOptions,
  serviceAccount: string,
): Promise<string> {
  const roleArn = `arn:aws:iam::${simulator.account}:role/${serviceAccount}-role`;
  await simulator.associations.create({ namespace, serviceAccount, roleArn });
  return serviceAccount;
}

async function ask({ credentialsUrl, signal }: TroubleOptions, token: string): Promise<number> {
  const response = await fetch(credentialsUrl, { headers: { Authorization: token }, signal });
  await response.arrayBuffer();
  return response.status;
}

/** Waits for so many calls to EKS Auth for a service account. */
async function calls(
  { simulator, signal }: TroubleOptions,
  serviceAccount: string,
  count: number,
): Promise<void> {
  const deadline = performance.now() + WITHIN;
  while (performance.now() < deadline) {
    const events = await simulator.audit.events({
      operation: 'AssumeRoleForPodIdentity',
      serviceAccount,
    });
    if (events.length >= count) return;
    await pause(50, undefined, { signal });
  }
}
