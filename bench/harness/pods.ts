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

/** Creates service accounts with an association and a role each, and pods of them in turn. */
export async function createPods(simulator: RemoteSimulator, plan: PodPlan): Promise<RemotePod[]> {
  const known = new Set(
    (await simulator.associations.list({ namespace: NAMESPACE })).map(
      ({ serviceAccount }) => serviceAccount,
    ),
  );
  const names = Array.from({ length: plan.serviceAccounts }, (_, index) => `account-${index + 1}`);
  for (const name of names.filter((each) => !known.has(each))) {
    await simulator.associations.create({
      namespace: NAMESPACE,
      serviceAccount: name,
      roleArn: roleArn(simulator.account, name),
    });
  }
  return await inParallel(plan.pods, (index) =>
    simulator.kubelet.createPod({
      namespace: NAMESPACE,
      serviceAccount: names[index % names.length] as string,
    }),
  );
}

/** Does something `count` times, several at once; the results in order. */
export async function inParallel<T>(
  count: number,
  task: (index: number) => Promise<T>,
): Promise<T[]> {
  const results = new Array<T>(count);
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < count; index = next++) results[index] = await task(index);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, worker));
  return results;
}

function roleArn(account: string, serviceAccount: string): string {
  return `arn:aws:iam::${account}:role/${serviceAccount}`;
}
