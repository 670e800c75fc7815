import { request } from 'node:http';
import { text } from 'node:stream/consumers';

/** A command that the broker could not be asked for, or refused; `message` says why. */
export class AdminClientError extends Error {
  override readonly name = 'AdminClientError';
  readonly code = 'ERR_ADMIN_CLIENT';
}

/**
 * Asks the broker on this node for something over its admin socket.
 *
 * @param socketPath - The broker's `--admin-socket`.
 * @returns The decoded answer.
 * @throws AdminClientError
 */
export async function askBroker(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<unknown> {
  const content = body === undefined ? undefined : JSON.stringify(body);
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
  const asked = request(
    {
      socketPath,
      method,
      path,
      headers: content === undefined ? {} : { 'Content-Length': Buffer.byteLength(content) },
    },
    (response) => {
      text(response).then(
        (read) => resolve({ status: response.statusCode ?? 0, body: read }),
        reject,
      );
    },
  );
  asked.on('error', reject);
  asked.end(content);
  let answered: { status: number; body: string };
  try {
    answered = await promise;
  } catch (error) {
    throw new AdminClientError(
      `no broker can be asked at ${socketPath} (--admin-socket): ${(error as Error).message}`,
    );
  }
  const decoded = JSON.parse(answered.body) as { message?: string };
  if (answered.status !== 200) {
    throw new AdminClientError(decoded.message ?? `the broker answered ${answered.status}`);
  }
  return decoded;
}
