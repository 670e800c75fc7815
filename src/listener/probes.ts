import { randomUUID } from 'node:crypto';
import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Clock, DurationMs, MonotonicMs } from '../clock.ts';

/** How long one address may take to answer a probe. */
const TIMEOUT: DurationMs = 900;

/** How long what was found is told to others who ask. */
const SHARED_FOR: DurationMs = 500;

/** The header by which the broker knows its own probes. */
export const PROBE_HEADER = 'x-probe';

/** An address that pods are answered on. */
export interface ProbedAddress {
  /** As it was named, and as clients name it in their Host header. */
  readonly host: string;
  readonly port: number;
  /** What a name came to. Default is `host`. */
  readonly ip?: string;
}

/** What a probe is answered: 408 when an address did not answer in time. */
export interface Health {
  readonly status: 200 | 408 | 500;
  readonly reason: string;
}

/** What {@link Probes} looks at. */
export interface ProbesOptions {
  readonly clock: Clock;
  /** The addresses that are bound, at the time of asking. */
  readonly addresses: () => readonly ProbedAddress[];
  /** An address that there has to be is not bound: its port is waited for. */
  readonly incomplete: () => boolean;
  /** What is behind `/readyz/` where this process is meant, and no other; undefined: nothing. */
  readonly readyId?: string | undefined;
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
  /** Marks the requests of this very process, so that they are not counted as pods' are. */
  readonly secret = randomUUID();
  /** A successor is there, whose readiness this process must not be taken for. */
  succeeded = false;
  readonly #latest: Partial<
    Record<'ready' | 'healthy', { readonly at: MonotonicMs; readonly health: Promise<Health> }>
  > = {};
  /** Local ends of the connections that are open to be probed. */
  readonly #ends = new Set<string>();

  constructor(options: ProbesOptions) {
    this.#options = options;
  }

  /**
   * Answers `/healthz` and `/readyz`: 200, 408 when an address did not answer in time, 500 for
   * everything else, as the existing agent does. Pods on the host's network share the port of the
   * probes, so that one that waits for it is asked in the person of the one that has it: what is
   * asked of this process alone is `/readyz/` with its id behind it, which the existing agent and
   * other versions have not. Those who ask within half a second are told the same of the
   * addresses: each check costs a connection to every one.
   *
   * @returns Whether the request was for one of these.
   */
  handle(request: IncomingMessage, response: ServerResponse): boolean {
    const path = request.url?.split('?', 1)[0];
    const ready = path === '/readyz' || this.#isOwnReadiness(path);
    if (!ready && path !== '/healthz') return false;
    void this.#shared(ready).then(({ status, reason }) => {
      response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' });
      response.end(`${reason}\n`);
    });
    return true;
  }

  #shared(ready: boolean): Promise<Health> {
    const missing = this.#missing(ready);
    if (missing !== undefined) return Promise.resolve(missing);
    const kind = ready ? 'ready' : 'healthy';
    const now = this.#options.clock.elapsed();
    const latest = this.#latest[kind];
    if (latest !== undefined && now < latest.at + SHARED_FOR) return latest.health;
    const health = this.check(ready);
    this.#latest[kind] = { at: now, health };
    return health;
  }

  /**
   * Whether a connection that was accepted is a probe's, at its other end: bounds on clients are
   * none on probes, or whoever reaches them from an address of the node has the broker killed.
   */
  isProbe({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): boolean {
    return this.#ends.has(endOf(remoteAddress, remotePort));
  }

  #isOwnReadiness(path: string | undefined): boolean {
    const { readyId } = this.#options;
    return readyId !== undefined && !this.succeeded && path === `/readyz/${readyId}`;
  }

  /**
   * Makes the checks.
   *
   * @param ready - Ask for readiness: every address is there. A broker that waits for the port
   *   of its predecessor is not ready, but to kill it would help nobody.
   */
  async check(ready: boolean): Promise<Health> {
    const missing = this.#missing(ready);
    if (missing !== undefined) return missing;
    const problems = await Promise.all(this.#options.addresses().map((one) => this.#probe(one)));
    const worst = problems.find((problem) => problem !== undefined);
    return worst ?? { status: 200, reason: 'ok' };
  }

  /** What this process knows to be missing without asking anybody. */
  #missing(ready: boolean): Health | undefined {
    const { incomplete, workersReady } = this.#options;
    if (ready && incomplete()) return { status: 500, reason: 'not all addresses are bound yet' };
    if (!workersReady()) return { status: 500, reason: 'the worker threads are not up' };
    return undefined;
  }

  /** Asks one address for a path that it does not have; only the broker answers 404 to that. */
  #probe({ host, port, ip = host }: ProbedAddress): Promise<Health | undefined> {
    const { clock } = this.#options;
    const name = host.includes(':') ? `[${host}]` : host;
    const { promise, resolve } = Promise.withResolvers<Health | undefined>();
    let end = '';
    const asked = request(
      {
        host,
        port,
        path: '/',
        headers: { Host: name, Connection: 'close', [PROBE_HEADER]: this.secret },
        createConnection: () => {
          const socket = connect({ host: ip, port });
          // An address is connected to in the next tick, when the kernel gives the socket its local
          // end; nothing is accepted before the ticks are over.
          process.nextTick(() => {
            end = endOf(socket.localAddress, socket.localPort);
            this.#ends.add(end);
          });
          return socket;
        },
      },
      (response) => {
        response.resume();
        const status = response.statusCode;
        resolve(
          status === 404
            ? undefined
            : { status: 500, reason: `${name}:${port} answered ${status}` },
        );
      },
    );
    asked.on('error', (error: NodeJS.ErrnoException) => {
      resolve({ status: 500, reason: `${name}:${port}: ${error.code ?? error.message}` });
    });
    // A time-out of the socket's would begin when it is connected, which may never be: an
    // address that was taken off the node is reached by nobody, and refused by nobody.
    const timer = clock.setTimeout(() => {
      resolve({ status: 408, reason: `${name}:${port} did not answer within ${TIMEOUT} ms` });
      asked.destroy();
    }, TIMEOUT);
    asked.end();
    return promise.finally(() => {
      clock.clearTimeout(timer);
      this.#ends.delete(end);
    });
  }
}

function endOf(address: string | undefined, port: number | undefined): string {
  return `${address} ${port}`;
}
