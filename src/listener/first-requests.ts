import type { Socket } from 'node:net';
import { stateOf } from './connection-state.ts';

/**
 * First requests that are handled in one turn of the event loop. Each takes about a tenth of a
 * millisecond of the main thread, up to the message that has its token verified, and whoever is
 * answered next turn waits for all of them.
 */
export const MAX_IN_A_TURN = 64;

/** From so many on, a turn is looked at as such; and so many are let back in per turn. */
const BATCH = MAX_IN_A_TURN / 2;

/** What {@link FirstRequests} needs. */
export interface FirstRequestsOptions {
  /** What a connection counts as: those that are held back are let in by these in turns. */
  readonly sourceOf: (socket: Socket) => string;
  /** Whether a connection is not to wait for anybody. */
  readonly isProbe: (socket: Socket) => boolean;
  /** Calls back in the next turn of the event loop. Default is `setImmediate`. */
  readonly nextTurn?: (callback: () => void) => void;
}

/**
 * Bounds how many connections make their first request in one turn of the event loop.
 *
 * Node.js accepts one connection a turn, but reads all that have something to be read, up to 1,024
 * at once. Thousands that connect first and ask later, all at the same moment, would hold up hits
 * on other connections until the last of them is handled. When a turn has had its share, those
 * that have not asked yet are not read until it is over, and then let back in a batch a turn.
 *
 * Nobody is timed, and nobody who is silent keeps a place from others: what counts are requests.
 */
export class FirstRequests {
  readonly #options: Required<FirstRequestsOptions>;
  /** Connections that are read, and have not asked yet. */
  readonly #read = new Set<Socket>();
  /** Those that are held back, by source; the one whose turn it is comes first. */
  readonly #held = new Map<string, Set<Socket>>();
  /** First requests since the last turn that was looked at, so at least as many as in this one. */
  #recent = 0;
  #turnAwaited = false;
  readonly #waiting: (() => void)[] = [];

  constructor(options: FirstRequestsOptions) {
    this.#options = { nextTurn: setImmediate, ...options };
    const forget = (socket: Socket) => this.#forget(socket);
    this.#closed = function closed(this: Socket) {
      if (!stateOf(this).asked) forget(this);
    };
  }

  /** Connections that are held back. */
  get held(): number {
    return this.#held.values().reduce((sum, { size }) => sum + size, 0);
  }

  /** Takes in a connection, which is read from now on. */
  accepted(socket: Socket): void {
    this.#read.add(socket);
    socket.on('close', this.#closed);
  }

  /** A connection has made a request, or will never make one; only the first time counts. */
  asked(socket: Socket): void {
    const state = stateOf(socket);
    if (state.asked) return;
    state.asked = true;
    // One that took too long to ask may be held: how it ends is read as well.
    if (!this.#read.delete(socket)) {
      this.#forget(socket);
      socket.resume();
    }
    this.#recent += 1;
    if (this.#recent >= BATCH) this.#awaitTurn();
    if (this.#recent >= MAX_IN_A_TURN) this.#hold();
  }

  /**
   * Calls back in the first turn in which nobody is held back, nor was in the one before: whatever
   * they have asked by then has been read.
   */
  onceAllAreRead(callback: () => void): void {
    this.#waiting.push(callback);
    this.#awaitTurn();
  }

  /** Stops reading whoever has not asked yet. */
  #hold(): void {
    const { isProbe, sourceOf } = this.#options;
    for (const socket of this.#read) {
      if (isProbe(socket)) continue;
      this.#read.delete(socket);
      socket.pause();
      const source = sourceOf(socket);
      const queue = this.#held.get(source);
      if (queue === undefined) this.#held.set(source, new Set([socket]));
      else queue.add(socket);
    }
  }

  #awaitTurn(): void {
    if (this.#turnAwaited) return;
    this.#turnAwaited = true;
    this.#options.nextTurn(this.#turn);
  }

  readonly #turn = (): void => {
    this.#turnAwaited = false;
    this.#recent = 0;
    if (this.#held.size === 0) {
      for (const callback of this.#waiting.splice(0)) callback();
      return;
    }
    for (let count = 0; count < BATCH; count += 1) {
      const socket = this.#next();
      if (socket === undefined) break;
      this.#read.add(socket);
      socket.resume();
    }
    if (this.#held.size > 0 || this.#waiting.length > 0) this.#awaitTurn();
  };

  /** Takes out the first of the source whose turn it is. */
  #next(): Socket | undefined {
    const [next] = this.#held;
    if (next === undefined) return undefined;
    const [source, queue] = next;
    const [socket] = queue;
    if (socket !== undefined) queue.delete(socket);
    this.#held.delete(source);
    if (queue.size > 0) this.#held.set(source, queue);
    return socket;
  }

  #forget(socket: Socket): void {
    if (this.#read.delete(socket)) return;
    const source = this.#options.sourceOf(socket);
    const queue = this.#held.get(source);
    queue?.delete(socket);
    if (queue?.size === 0) this.#held.delete(source);
  }

  /** One function for all connections: there are tens of thousands of them a second. */
  readonly #closed: (this: Socket) => void;
}
