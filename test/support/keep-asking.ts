import { Agent, request } from 'node:http';
import { json } from 'node:stream/consumers';

/** What was answered on one connection. */
export interface Conversation {
  readonly answers: readonly { readonly status: number; readonly key: string | undefined }[];
  /** `Connection` of the last answer; undefined: the connection ended without one. */
  readonly last: string | undefined;
  /** Why it ended without one. */
  readonly failure: Error | undefined;
}

/** Asks again and again on one connection, until an answer is the last. */
export async function keepAsking(
  { port }: { readonly port: number },
  token: string,
): Promise<Conversation> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const answers: Conversation['answers'][number][] = [];
  try {
    for (;;) {
      const { status, key, connection } = await askOn(agent, port, token);
      answers.push({ status, key });
      if (connection === 'close') return { answers, last: connection, failure: undefined };
    }
  } catch (error) {
    return { answers, last: undefined, failure: error as Error };
  } finally {
    agent.destroy();
  }
}

async function askOn(agent: Agent, port: number, token: string) {
  type Answer = Conversation['answers'][number] & { readonly connection: string | undefined };
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const headers = { Authorization: token };
  const asked = request({ host: '127.0.0.1', port, path: '/v1/credentials', agent, headers });
  asked.on('error', reject);
  asked.on('response', (response) => {
    json(response).then((body) => {
      const { statusCode: status = 0 } = response;
      const { AccessKeyId: key } = body as { AccessKeyId?: string };
      resolve({ status, key, connection: response.headers.connection });
    }, reject);
  });
  asked.end();
  return await promise;
}
