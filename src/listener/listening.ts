import type { Server } from 'node:net';
import type { Clock, DurationMs } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';
import { portHolder } from './port-holder.ts';

/** How often a port that is taken is tried again. */
const RETRY_INTERVAL: DurationMs = 500;

/** An address that cannot be listened on, for a reason that waiting does not mend. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  /** The node does not have the address, or not its family. */
  readonly absent: boolean;

  constructor(message: string, absent: boolean, cause: unknown) {
    super(message, { cause });
    this.absent = absent;
  }
}

/** How to listen. */
export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the wait for a port that is taken. */
  readonly signal: AbortSignal;
}

/**
 * Listens on an address. While the port is taken it is tried again every half second, and
 * the log says so once, with who holds it where that can be seen.
 *
 * @returns Whether it listens; false when `signal` came first.
 * @throws ListenError when the node has no such address, or the port may not be bound.
 */
export async function listen(server: Server, options: ListenOptions): Promise<boolean> {
  const { host, port, clock, log, signal } = options;
  const shown = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  let said = false;
  while (!signal.aborted) {
    const error = await listenOnce(server, host, port);
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
    await pause(clock, RETRY_INTERVAL, signal);
  }
  return false;
}

function listenOnce(
  server: Server,
  host: string,
  port: number,
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
  server.listen({ host, port, backlog: 4_096 });
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
