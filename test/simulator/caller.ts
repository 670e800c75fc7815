import { createHash, createHmac } from 'node:crypto';
import { Agent, request } from 'node:http';
import type { Credentials } from '../../src/simulator/credential-authority.ts';
import type { SimulatorOptions } from '../../src/simulator/simulator.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';

/** What came back from a raw call. */
export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  /** The body as JSON; `undefined` where it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever the service answered
  body: any;
}

/** How a raw call departs from a good one. */
export interface CallOptions {
  credentials?: Credentials;
  /** The signer's clock; default the real time. */
  now?: number;
  service?: string;
  region?: string;
  clusterName?: string;
  path?: string;
  method?: string;
  body?: string;
  /** Changes headers after signing; `undefined` removes one. */
  headers?: Record<string, string | undefined>;
  signal?: AbortSignal;
}

const agent = new Agent({ keepAlive: false });

/** A simulator that the test closes. */
export async function simulatorFor(
  t: { teardown(close: () => Promise<void>): unknown },
  options: SimulatorOptions = {},
): Promise<Simulator> {
  const simulator = await startSimulator({ keyAlgorithm: 'ES256', ...options });
  t.teardown(() => simulator.close());
  return simulator;
}

/** The ARN of a role in the simulator's account. */
export function roleArn(name: string, account = '111122223333'): string {
  return `arn:aws:iam::${account}:role/${name}`;
}

/** A pod whose service account is associated with a role of the same name. */
export function associatedPod(simulator: Simulator, serviceAccount = 'web') {
  simulator.associations.create({
    namespace: 'default',
    serviceAccount,
    roleArn: roleArn(serviceAccount),
  });
  return simulator.kubelet.createPod({ namespace: 'default', serviceAccount });
}

/** Calls EKS Auth with a signature of its own making, so that it can be a wrong one. */
export function assume(
  simulator: Simulator,
  token: string,
  options: CallOptions = {},
): Promise<Answer> {
  const clusterName = options.clusterName ?? simulator.clusterName;
  return call(simulator, {
    path: `/clusters/${clusterName}/assume-role-for-pod-identity`,
    body: JSON.stringify({ token }),
    ...options,
  });
}

/** Makes a signed call to any of the services. */
export function call(simulator: Simulator, options: CallOptions = {}): Promise<Answer> {
  const { method = 'POST', path = '/', body = '' } = options;
  const url = new URL(simulator.url);
  const headers = sign(simulator, url.host, method, path, body, options);
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: url.hostname,
        port: url.port,
        method,
        path,
        headers,
        agent,
        ...(options.signal && { signal: options.signal }),
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('error', reject);
        response.on('end', () => {
          const { statusCode: status = 0 } = response;
          resolve({ status, headers: response.headers, text, body: parse(text) });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function sign(
  simulator: Simulator,
  host: string,
  method: string,
  path: string,
  body: string,
  options: CallOptions,
): Record<string, string> {
  const { now = Date.now(), service = 'eks-auth', region = simulator.region } = options;
  const { accessKeyId, secretAccessKey, sessionToken } =
    options.credentials ?? simulator.nodeCredentials;
  const date = new Date(now).toISOString().replace(/[-:]|\.\d{3}/g, '');
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    host,
    'x-amz-date': date,
    ...(sessionToken !== undefined && { 'x-amz-security-token': sessionToken }),
  };
  const names = ['content-type', 'host', 'x-amz-date', 'x-amz-security-token'].filter(
    (name) => name in headers,
  );
  const canonical = [
    method,
    path,
    '',
    ...names.map((name) => `${name}:${headers[name]}`),
    '',
    names.join(';'),
    createHash('sha256').update(body).digest('hex'),
  ].join('\n');
  const scope = `${date.slice(0, 8)}/${region}/${service}/aws4_request`;
  const key = scope
    .split('/')
    .reduce<Buffer>(
      (parent, part) => createHmac('sha256', parent).update(part).digest(),
      Buffer.from(`AWS4${secretAccessKey}`),
    );
  const digest = createHash('sha256').update(canonical).digest('hex');
  const signature = createHmac('sha256', key)
    .update(`AWS4-HMAC-SHA256\n${date}\n${scope}\n${digest}`)
    .digest('hex');
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (value === undefined) delete headers[name];
    else headers[name] = value;
  }
  return headers;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
