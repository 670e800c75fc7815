import type { RemotePod, RemoteSimulator } from '../../src/simulator/control-client.ts';

/** The namespace of all pods of a run. */
export const NAMESPACE = 'bench';

/** Control calls under way at once. */
const AT_ONCE = 16;

/** How many pods, over how many service accounts they are spread evenly. */
export interface PodPlan {
  readonly pods: number;
  readonly serviceAccounts: number;
}

/** Numbers the calls of {@link createPods}: each makes service accounts of its own. */
let lots = 0;
/** Another agent's simulator may remember an earlier run's. */
const run = Date.now().toString(36);

/**
 * Creates service accounts with an association and a role each, and pods of them in turn.
 * Nobody has ever asked for these service accounts' credentials before.
 */
export async function createPods(simulator: RemoteSimulator, plan: PodPlan): Promise<RemotePod[]> {
  const names = await createServiceAccounts(simulator, plan.serviceAccounts);
  return await morePods(simulator, names, plan.pods);
}

/** Creates service accounts with an association and a role each; their names. */
export async function createServiceAccounts(
  simulator: RemoteSimulator,
  count: number,
): Promise<string[]> {
  const lot = ++lots;
  return await inParallel(count, async (index) => {
    const serviceAccount = `account-${run}-${lot}-${index + 1}`;
    await simulator.associations.create({
      namespace: NAMESPACE,
      serviceAccount,
      roleArn: `arn:aws:iam::${simulator.account}:role/${serviceAccount}`,
    });
    return serviceAccount;
  });
}

/** Creates pods of these service accounts in turn. */
export async function morePods(
  simulator: RemoteSimulator,
  serviceAccounts: readonly string[],
  count: number,
): Promise<RemotePod[]> {
  return await inParallel(count, (index) =>
    simulator.kubelet.createPod({
      namespace: NAMESPACE,
      serviceAccount: serviceAccounts[index % serviceAccounts.length] as string,
    }),
  );
}

/** The service accounts of some pods, each once. */
export function accountsOf(pods: readonly RemotePod[]): string[] {
  return [...new Set(pods.map(({ serviceAccount }) => serviceAccount))];
}

/** Does something `count` times, `atOnce` of them at a time; the results in order. */
export async function inParallel<T>(
  count: number,
  task: (index: number) => Promise<T>,
  atOnce = AT_ONCE,
): Promise<T[]> {
  const results = new Array<T>(count);
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < count; index = next++) results[index] = await task(index);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
  return results;
}
