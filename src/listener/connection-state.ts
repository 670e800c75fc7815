import type { Socket } from 'node:net';
import type { Source } from './sources.ts';

const STATE = Symbol('state');

/** A socket with what Node.js and the listener keep on it. */
type KnownSocket = Socket & { [STATE]?: ConnectionState; _peername?: unknown };

/** What the listener remembers of a connection. */
export class ConnectionState {
  /** The source that it counts for, where somebody had to know. */
  source: Source | undefined = undefined;
  /** It has made a request, or will never make one. */
  asked = false;
  /** Requests that wait for their answers. */
  waiting = 0;
  /** Requests that came behind another one that had no answer yet. */
  pipelined = 0;
  /** The rest of what it sends is not read. */
  discarding = false;
}

/** The state of a connection; on the socket, as a weak map would cost more. */
export function stateOf(socket: KnownSocket): ConnectionState {
  let state = socket[STATE];
  if (state === undefined) {
    state = new ConnectionState();
    socket[STATE] = state;
  }
  return state;
}

/**
 * Gives a new connection, in one order, all that is ever put on its socket later, so that V8 has
 * one hidden class for all of them. Where some have a property early, some late and some never,
 * look-ups on sockets inside of Node.js go through V8's megamorphic cache instead, which is slower.
 */
export function prepare(socket: KnownSocket): ConnectionState {
  // What `remoteAddress` and `setTimeout` would add. Undefined and 0 are what they mean without.
  socket._peername = undefined;
  socket.setTimeout(0);
  return stateOf(socket);
}
