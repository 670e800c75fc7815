import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { startBroker } from '../support/broker-process.ts';
import { needsAwsCli, needsBoto3 } from '../support/needs.ts';

// Programs as they run in pods: nothing but the environment and the token file that EKS gives
// them, and where the simulated STS is.

/** A node with a pod on it. EKS Auth takes `latency`, and requests wait for `clientWait`. */
async function node({ latency = 20, clientWait = '1900ms' } = {}) {
  const tokenDirectory = await mkdtemp(join(tmpdir(), 'tokens-'));
  const simulator = await startSimulator({ tokenDirectory, latency });
  t.teardown(async () => {
    await simulator.close();
    await rm(tokenDirectory, { recursive: true });
  });
  simulator.associations.create({
    namespace: 'shop',
    serviceAccount: 'cart',
    roleArn: `arn:aws:iam::${simulator.account}:role/cart`,
  });
  const broker = await startBroker({
    simulator,
    args: [`--token-issuer=${simulator.issuer}`, `--client-wait=${clientWait}`],
  });
  const pod = simulator.kubelet.createPod({ namespace: 'shop', serviceAccount: 'cart' });
  const env = {
    PATH: process.env.PATH ?? '',
    ...pod.environment(broker.credentialsUri),
    AWS_ENDPOINT_URL_STS: simulator.url,
  };
  return { simulator, broker, pod, env };
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

/** Says who the AWS SDK for Python is, by its default credential chain, like the CLI. */
const BOTO3 = `
import boto3, json
answer = boto3.client("sts").get_caller_identity()
print(json.dumps({"Arn": answer["Arn"]}))
`;
const POD = fileURLToPath(new URL('../../src/simulator/demo/pod.ts', import.meta.url));

interface SdkClient {
  readonly name: string;
  readonly skip: string | false;
  readonly command: readonly [string, ...string[]];
  /** The ARNs that it was told. */
  readonly arns: (stdout: string) => string[];
}

const CLIENTS: readonly SdkClient[] = [
  {
    name: 'the AWS SDK for JavaScript',
    skip: false,
    // Two clients in one process.
    command: [process.execPath, POD],
    arns: (stdout) => stdout.trim().split('\n'),
  },
  {
    name: 'boto3',
    skip: needsBoto3(),
    command: ['python3', '-c', BOTO3],
    arns: (stdout) => [JSON.parse(stdout).Arn],
  },
  {
    name: 'the AWS CLI',
    skip: needsAwsCli(),
    command: ['aws', 'sts', 'get-caller-identity'],
    arns: (stdout) => [JSON.parse(stdout).Arn],
  },
];

for (const { name, skip, command, arns } of CLIENTS) {
  const [program, ...args] = command;

  t.test(`${name}, with its first token and with a rotated one`, { skip }, async (t) => {
    const { simulator, pod, env } = await node();
    for (const when of ['first', 'rotated']) {
      const { code, stdout, stderr } = await run(program, args, env);
      t.equal(code, 0, `${when}: ${stderr}`);
      for (const arn of arns(stdout)) t.match(arn, /:assumed-role\/cart\//);
      pod.rotate();
    }
    t.equal(simulator.counts().assumeRole.calls, 1);
  });

  t.test(`${name}, after a 503`, { skip }, async (t) => {
    const { simulator, broker, env } = await node({ latency: 1_000, clientWait: '200ms' });
    const { code, stdout, stderr } = await run(program, args, env);
    t.equal(code, 0, stderr);
    for (const arn of arns(stdout)) t.match(arn, /:assumed-role\/cart\//);
    const metrics = await broker.metrics();
    t.ok((metrics.get('pod_identity_http_response{code="503"}') ?? 0) >= 1, 'it was sent away');
    t.equal(simulator.counts().assumeRole.calls, 1);
  });
}
