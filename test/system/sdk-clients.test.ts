import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { startBroker } from '../support/broker-process.ts';
import { needsAwsCli } from '../support/needs.ts';

// Programs as they run in pods: nothing but the environment and the token file that EKS gives
// them, and where the simulated STS is.

async function node() {
  const tokenDirectory = await mkdtemp(join(tmpdir(), 'tokens-'));
  const simulator = await startSimulator({ tokenDirectory, latency: 20 });
  t.teardown(async () => {
    await simulator.close();
    await rm(tokenDirectory, { recursive: true });
  });
  simulator.associations.create({
    namespace: 'shop',
    serviceAccount: 'cart',
    roleArn: `arn:aws:iam::${simulator.account}:role/cart`,
  });
  const broker = await startBroker({ simulator, args: [`--token-issuer=${simulator.issuer}`] });
  const pod = simulator.kubelet.createPod({ namespace: 'shop', serviceAccount: 'cart' });
  const env = {
    PATH: process.env.PATH ?? '',
    ...pod.environment(broker.credentialsUri),
    AWS_ENDPOINT_URL_STS: simulator.url,
  };
  return { simulator, pod, env };
}

function run(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{
    code: number | null;
    stdout: string;
    stderr: string;
  }>();
  const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.on('error', reject);
  child.on('close', (code) => resolve({ code, stdout, stderr }));
  return promise;
}

t.test('the AWS SDK for JavaScript, default credential chain', async (t) => {
  const { simulator, env } = await node();
  const program = fileURLToPath(new URL('../../src/simulator/demo/pod.ts', import.meta.url));
  const { code, stdout, stderr } = await run(process.execPath, [program], env);
  t.equal(code, 0, stderr);
  const arns = stdout.trim().split('\n');
  t.equal(arns.length, 2);
  for (const arn of arns) t.match(arn, /:assumed-role\/cart\//);
  t.equal(simulator.counts().assumeRole.calls, 1);
});

t.test('the AWS CLI', { skip: needsAwsCli() }, async (t) => {
  const { simulator, pod, env } = await node();
  for (const when of ['with its first token', 'with a rotated one']) {
    const { code, stdout, stderr } = await run('aws', ['sts', 'get-caller-identity'], env);
    t.equal(code, 0, `${when}: ${stderr}`);
    t.match(JSON.parse(stdout).Arn, /:assumed-role\/cart\//);
    pod.rotate();
  }
  t.equal(simulator.counts().assumeRole.calls, 1);
});
