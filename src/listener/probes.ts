import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { DurationMs } from '../clock.ts';

/** How long one address may take to answer a probe. */
const TIMEOUT: DurationMs = 900;

/** An address that pods are answered on. */
export interface ProbedAddress {
  readonly host: string;
  readonly port: number;
}

/** What {@link Probes} looks at. */
export interface ProbesOptions {
  /** The addresses that are bound, at the time of asking. */
  readonly addresses: () => readonly ProbedAddress[];
  /** The worker threads take tasks. */
  readonly workersReady: () => boolean;
}

/**
 * Health as the kubelet asks for it: every bound address answers a real request, and the
 * worker pool is up. EKS Auth is no part of it: a broker that is killed because EKS Auth is
 * slow would take the sessions with it that its pods still live on.
 */
export class Probes {
  readonly #options: ProbesOptions;

  constructor(options: ProbesOptions) {
    this.#options = options;
  }

  /**
   * Answers `/healthz` and `/readyz`: 200, 408 when an address did not answer in time, 500 for
   * everything else, as the existing agent does.
   *
   * @returns Whether the request was for one of the two.
   */
  handle(request: IncomingMessage, response: ServerResponse): boolean {
    const path = request.url?.split('?', 1)[0];
    if (path !== '/healthz' && path !== '/readyz') return false;
    void this.check().then(({ status, reason }) => {
      response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' });
      response.end(`${reason}\n`);
    });
    return true;
  }

  /** Makes the checks. */
  async check(): Promise<{ readonly status: 200 | 408 | 500; readonly reason: string }> {
    const { addresses, workersReady } = this.#options;
    const bound = addresses();
    if (bound.length === 0) return { status: 500, reason: 'no address is bound yet' };
    if (!workersReady()) return { status: 500, reason: 'the worker threads are not up' };
    const problems = await Promise.all(bound.map(probe));
    const worst = problems.find((problem) => problem !== undefined);
    return worst ?? { status: 200, reason: 'ok' };
  }
}

/** Asks one address for a path that it does not have; only the broker answers 404 to that. */
function probe({
  host,
  port,
}: ProbedAddress): Promise<{ readonly status: 408 | 500; readonly reason: string } | undefined> {
  const name = host.includes(':') ? `[${host}]` : host;
  const { promise, resolve } = Promise.withResolvers<
    { readonly status: 408 | 500; readonly reason: string } | undefined
  >();
  const asked = request(
    { host, port, path: '/', headers: { Host: name, Connection: 'close' }, agent: false },
    (response) => {
      response.resume();
      const status = response.statusCode;
      resolve(
        status === 404 ? undefined : { status: 500, reason: `${name}:${port} answered ${status}` },
      );
    },
  );
  asked.on('error', (error: NodeJS.ErrnoException) => {
    resolve({ status: 500, reason: `${name}:${port}: ${error.code ?? error.message}` });
  });
  asked.setTimeout(TIMEOUT, () => {
    resolve({ status: 408, reason: `${name}:${port} did not answer within ${TIMEOUT} ms` });
    asked.destroy();
  });
  asked.end();
  return promise;
}
