import type { Server, Socket } from 'node:net';
import type { Sources } from './sources.ts';

/** The other end of a connection. */
export type RemoteEnd = Pick<Socket, 'remoteAddress' | 'remotePort'>;

/** What {@link turnAwayAtAccept} needs. */
export interface TurnAwayOptions {
  /** Whose connections are not wanted. */
  readonly sources: Pick<Sources, 'wary' | 'turnsAway'>;
  /** Whether a connection is one of the broker's own probes, which no bound is for. */
  readonly isProbe: (end: RemoteEnd) => boolean;
  /** Called for a connection that was closed. */
  readonly onTooMany: () => void;
}

/** A connection as the kernel hands it over, before Node.js makes a socket of it. */
interface AcceptedHandle {
  /** @returns 0, or an error of libuv's. */
  getpeername(into: { address?: string; port?: number }): number;
  close(): void;
}

/** What a server that listens has inside of Node.js. */
interface ListeningServer extends Server {
  readonly _handle?: {
    onconnection?: (error: number, accepted: AcceptedHandle | undefined) => void;
  } | null;
}

/**
 * Has a server close the connections that are not wanted before there is a socket of each, as
 * Node.js does with those beyond `maxConnections`.
 *
 * A socket that is made and destroyed is a quarter of what such a connection costs. Node.js accepts
 * one connection a turn of the event loop, so that this is what everybody's connections wait for:
 * sources that connect again and again keep the kernel's queue full (4,096), and those that find it
 * full try again after a second, then after two more.
 *
 * With a version of Node.js that is different inside they are closed later, by `acceptOnly`.
 */
export function turnAwayAtAccept(server: Server, options: TurnAwayOptions): void {
  const { sources, isProbe, onTooMany } = options;
  const unwanted = (accepted: AcceptedHandle): boolean => {
    const { address, port } = peerOf(accepted);
    if (address === undefined || !sources.turnsAway(address)) return false;
    return !isProbe({ remoteAddress: address, remotePort: port });
  };
  server.on('listening', () => {
    const { _handle: handle } = server as ListeningServer;
    const accept = handle?.onconnection;
    if (handle == null || accept === undefined) return;
    handle.onconnection = function onconnection(error, accepted) {
      if (sources.wary && accepted !== undefined && unwanted(accepted)) {
        accepted.close();
        onTooMany();
        return;
      }
      accept.call(this, error, accepted);
    };
  });
}

/** Nothing, where it was reset in the meantime. */
function peerOf(accepted: AcceptedHandle): { address?: string; port?: number } {
  const peer = {};
  accepted.getpeername(peer);
  return peer;
}
