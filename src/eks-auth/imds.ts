import { Agent, type ClientRequest, request } from 'node:http';
import { type Clock, type DurationMs, systemClock } from '../clock.ts';
import type { Environment } from '../http/proxy.ts';

/** The instance metadata service gave no usable answer. */
export class InstanceMetadataError extends Error {
  override readonly name = 'InstanceMetadataError';
  readonly code = 'ERR_INSTANCE_METADATA';
}

/** Time-out of each of the two requests of a look-up. */
const TIMEOUT: DurationMs = 1_000;
const MAX_BYTES = 16_384;

/**
 * Reads a value from the instance metadata service (IMDSv2: a session token first).
 *
 * `AWS_EC2_METADATA_SERVICE_ENDPOINT`, `AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE` and
 * `AWS_EC2_METADATA_DISABLED` work as in every AWS SDK. No proxy is used: Node's
 * proxy support (`NODE_USE_ENV_PROXY`) applies only to its global agent.
 *
 * @param path - e.g. `/latest/meta-data/placement/region`.
 * @param env - the environment to read.
 * @param clock - default is the real time.
 * @returns The value, trimmed; at most 16 KiB.
 * @throws InstanceMetadataError saying why there is no answer.
 */
export async function readInstanceMetadata(
  path: string,
  env: Environment,
  clock: Clock = systemClock,
): Promise<string> {
  if ((env.AWS_EC2_METADATA_DISABLED ?? 'false').toLowerCase() !== 'false') {
    throw new InstanceMetadataError('switched off by AWS_EC2_METADATA_DISABLED');
  }
  const base = endpoint(env);
  if (!URL.canParse(base)) {
    throw new InstanceMetadataError('AWS_EC2_METADATA_SERVICE_ENDPOINT is not a URL');
  }
  const token = await ask(clock, new URL('/latest/api/token', base), 'PUT', {
    'x-aws-ec2-metadata-token-ttl-seconds': '60',
  });
  return await ask(clock, new URL(path, base), 'GET', { 'x-aws-ec2-metadata-token': token });
}

function endpoint(env: Environment): string {
  if (env.AWS_EC2_METADATA_SERVICE_ENDPOINT) return env.AWS_EC2_METADATA_SERVICE_ENDPOINT;
  const ipv6 = env.AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE?.toLowerCase() === 'ipv6';
  return ipv6 ? 'http://[fd00:ec2::254]' : 'http://169.254.169.254';
}

async function ask(
  clock: Clock,
  url: URL,
  method: string,
  headers: Record<string, string>,
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const fail = (problem: string, cause?: unknown) =>
    reject(new InstanceMetadataError(`${url.host} ${problem}`, { cause }));
  let call: ClientRequest;
  try {
    call = request(url, { method, headers, agent: new Agent() });
  } catch (error) {
    // A protocol other than HTTP, or a session token that does not fit into a header.
    throw new InstanceMetadataError(`${url.host} cannot be asked: ${reason(error as Error)}`, {
      cause: error,
    });
  }
  const timer = clock.setTimeout(() => {
    fail(`did not answer within ${TIMEOUT} ms`);
    call.destroy();
  }, TIMEOUT);
  call.on('response', (response) => {
    const { statusCode } = response;
    const chunks: Buffer[] = [];
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size <= MAX_BYTES) return;
      fail(`answered more than ${MAX_BYTES} bytes`);
      call.destroy();
    });
    response.on('end', () => {
      if (statusCode === 200) resolve(Buffer.concat(chunks).toString('utf8').trim());
      else fail(`answered ${statusCode} to ${method} ${url.pathname}`);
    });
    response.on('error', (error) => fail(reason(error), error));
  });
  call.on('error', (error) => fail(reason(error), error));
  call.end();
  try {
    return await promise;
  } finally {
    clock.clearTimeout(timer);
  }
}

function reason(error: Error): string {
  return error.message || String((error as NodeJS.ErrnoException).code);
}
