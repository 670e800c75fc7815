import { request } from 'node:http';

/** What a server of 127.0.0.1 answered. */
export interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

/** What to ask. */
export interface Question {
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly host?: string;
  /** Milliseconds until the answer has to be complete; default 10,000. */
  readonly within?: number;
}

/** Asks on a connection of its own, which the client closes when the time is over. */
export function ask(port: number, question: Question): Promise<Answer> {
  const { path, headers = {}, host = '127.0.0.1', within = 10_000 } = question;
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const asked = request({ host, port, path, headers, agent: false });
  const timer = setTimeout(() => asked.destroy(new Error(`no answer in ${within} ms`)), within);
  asked.on('error', reject);
  asked.on('response', (response) => {
    let body = '';
    response.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    response.on('error', reject);
    response.on('end', () => {
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
    });
  });
  asked.end();
  return promise.finally(() => clearTimeout(timer));
}
