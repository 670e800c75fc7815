import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { connectSimulator } from '../../src/simulator/control-client.ts';
import { createNode } from '../../src/simulator/netns.ts';
import { testOutputEnvironment } from '../../src/simulator/test-output.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Where the simulated EKS listens on the node. */
export const SIMULATOR_PORT = 8090;

/** A node, and a cluster that it belongs to. */
export async function nodeFor(t: Test, options: { ipv6?: boolean } = {}) {
  const node = await createNode(options);
  t.teardown(() => node.close());
  const tokens = t.testdir({});
  const args = ['simulate', '--host=0.0.0.0', `--port=${SIMULATOR_PORT}`];
  node.exec(process.execPath, [MAIN, ...args, `--token-directory=${tokens}`], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: testOutputEnvironment,
  });
  const url = `http://127.0.0.1:${await node.forward(SIMULATOR_PORT)}`;
  const deadline = performance.now() + 30_000;
  for (;;) {
    const simulator = await connectSimulator(url).catch((error: unknown) => {
      if (performance.now() > deadline) throw error;
    });
    if (simulator !== undefined) return { node, simulator };
    await pause(50);
  }
}

/** A node in a network namespace, and its cluster. */
export type NodeCluster = Awaited<ReturnType<typeof nodeFor>>;

/** An association of a service account with a role of the same name. */
export async function associate({ simulator }: NodeCluster, serviceAccount: string): Promise<void> {
  await simulator.associations.create({
    namespace: 'default',
    serviceAccount,
    roleArn: `arn:aws:iam::${simulator.account}:role/${serviceAccount}`,
  });
}
