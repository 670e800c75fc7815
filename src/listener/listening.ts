import { createServer, type ListenOptions as NetListenOptions, type Server } from 'node:net';
import type { Clock, DurationMs } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';
import { portHolder } from './port-holder.ts';

/** How often a port that is taken is tried again. */
const RETRY_INTERVAL: DurationMs = 250;

/** An address that cannot be listened on, for a reason that waiting does not mend. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly code = 'ERR_LISTEN';
  /** The node does not have the address, or not its family. */
  readonly absent: boolean;

  constructor(message: string, absent: boolean, cause: unknown) {
    super(message, { cause });
    this.absent = absent;
  }
}

/** How to listen. */
export interface ListenOptions {
  /** One address, of either family. */
  readonly host: string;
  /** Waited for, if somebody else has it. */
  readonly port: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the wait for a port that is taken. */
  readonly signal: AbortSignal;
  /**
   * Called each time that the port is found to be taken. Resolves with whether the broker that has
   * it has handed over, so that this one listens beside it.
   */
  readonly onTaken?: (() => Promise<boolean>) | undefined;
  /**
   * `with-successor`: a later broker may listen beside this one; `with-predecessor`: this one
   * listens beside an earlier broker as well. Default is neither.
   */
  readonly shared?: 'with-successor' | 'with-predecessor' | undefined;
  /** Leave IPv4 to others where `host` is `::`, which takes it in otherwise. Default is false. */
  readonly ipv6Only?: boolean | undefined;
}

/**
 * Listens on an address. While the port is taken it is tried again four times a second, and
 * the log says so once, with who holds it where that can be seen.
 *
 * @returns Whether it listens; false when `signal` came first.
 * @throws ListenError when the node has no such address, or the port may not be bound.
 */
export async function listen(server: Server, options: ListenOptions): Promise<boolean> {
  const { host, port, clock, log, signal } = options;
  const shown = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  let said = false;
  let { shared } = options;
  while (!signal.aborted) {
    const error = await tryToListen(server, { ...options, shared });
    if (error === undefined) {
      log.info({ address: shown }, 'listening');
      return true;
    }
    if (error.code === 'EADDRNOTAVAIL' || error.code === 'EAFNOSUPPORT') {
      throw new ListenError(`${host} is not an address of this node`, true, error);
    }
    if (error.code !== 'EADDRINUSE') {
      const hint = error.code === 'EACCES' ? ' (ports below 1024 need CAP_NET_BIND_SERVICE)' : '';
      throw new ListenError(`cannot listen on ${shown}: ${error.message}${hint}`, false, error);
    }
    if (!said) {
      const holder = await portHolder(port);
      log.warn({ address: shown, ...(holder && { holder }) }, 'port is taken; waiting for it');
      said = true;
    }
    if (shared === 'with-successor' && (await options.onTaken?.()) === true) {
      shared = 'with-predecessor';
      continue;
    }
    await pause(clock, RETRY_INTERVAL, signal);
  }
  return false;
}

/**
 * Listens if the port is free, or held by the predecessor. A port that is shared lets everybody
 * of this user in; so whether it is free is found out by taking it alone first.
 */
async function tryToListen(
  server: Server,
  { host, port, shared, ipv6Only }: ListenOptions,
): Promise<NodeJS.ErrnoException | undefined> {
  const where = { host, port, ipv6Only };
  if (shared === 'with-successor') {
    const trial = createServer();
    const error = await listenOnce(trial, where);
    if (error !== undefined) return error;
    await new Promise((resolve) => trial.close(resolve));
  }
  return await listenOnce(server, { ...where, reusePort: shared !== undefined });
}

function listenOnce(
  server: Server,
  where: NetListenOptions,
): Promise<NodeJS.ErrnoException | undefined> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.ErrnoException | undefined>();
  const failed = (error: NodeJS.ErrnoException) => {
    server.off('listening', listening);
    resolve(error);
  };
  const listening = () => {
    server.off('error', failed);
    resolve(undefined);
  };
  server.once('error', failed);
  server.once('listening', listening);
  server.listen({ ...where, backlog: 4_096 });
  return promise;
}

function pause(clock: Clock, duration: DurationMs, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = clock.setTimeout(done, duration);
  function done() {
    signal.removeEventListener('abort', done);
    clock.clearTimeout(timer);
    resolve();
  }
  signal.addEventListener('abort', done);
  return promise;
}
