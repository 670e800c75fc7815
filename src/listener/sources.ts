import type { Socket } from 'node:net';
import type { Clock, DurationMs, MonotonicMs } from '../clock.ts';
import { canonicalAddress } from '../network/canonical-address.ts';
import { OwnAddresses } from '../network/own-addresses.ts';
import { TokenBucket } from '../token-bucket.ts';
import { stateOf } from './connection-state.ts';

/** Seconds' worth of requests that an address may make at once. */
const BURST_SECONDS = 5;
/** What a request costs whose token is refused, in requests: failures slow their sender first. */
const REFUSAL_COST = 10;
/**
 * Times its rate that an address may exceed that rate by, and still be told so. Whoever asks more
 * often than that floods the node: even a refusal costs all others.
 */
const TOLERATED_EXCESS = 3;
/** Seconds' worth of requests that an address may exceed that by before it counts as a flood. */
const FLOOD_SECONDS = 2 * BURST_SECONDS;
/** Seconds for which an address that floods is shut out. */
const SHUT_OUT_SECONDS = 1;
/**
 * By how much all addresses of the node's own may together exceed a pod's: host-network pods share
 * them, and each of these can take any of them.
 */
const NODE_FACTOR = 10;
/** The name of the source that all addresses of the node's own count as. */
const NODE = 'node';
/** Connections open at once from one pod's address, beyond as many of which nobody asks whose. */
const MAX_CONNECTIONS = 256;
/** Connections open at once in all; beyond it a new one takes the place of an old one. */
export const MAX_CONNECTIONS_IN_ALL = 10_000;
/** The part of all connections that one pod's address may have, where that is less. */
const MAX_SHARE = 1 / 4;
/** After a refusal it takes twice the burst, at most, until nobody owes anything. */
const OWED_FOR: DurationMs = 2 * BURST_SECONDS * 1_000;

/** Where requests come from: a pod, or the node itself. */
export class Source {
  /** What all addresses have in common that count as this source. */
  readonly name: string;
  readonly maxConnections: number;
  /** Connections that count for it, in the order in which they came. */
  readonly connections = new Set<Socket>();
  readonly #rate: number;
  readonly #budget: TokenBucket;
  /** Requests beyond its rate, less those that are tolerated. */
  #excess = 0;
  #exceededAt: MonotonicMs = 0;
  /** Until when its latest refusal is held against it. */
  owedUntil: MonotonicMs = Number.NEGATIVE_INFINITY;

  /** @param rate - Requests a second; 0: no bound. */
  constructor(name: string, rate: number, maxConnections: number) {
    this.name = name;
    this.maxConnections = maxConnections;
    this.#rate = rate;
    this.#budget = new TokenBucket(rate, rate * BURST_SECONDS);
  }

  /** Takes the price of a request; false when this source has used up its budget. */
  admit(now: MonotonicMs): boolean {
    if (this.#rate === 0 || this.#budget.take(now)) return true;
    this.#exceed(now);
    return false;
  }

  /** It goes on and on after it was told to stop. */
  get floods(): boolean {
    return this.#excess > this.#rate * FLOOD_SECONDS;
  }

  /** Takes nothing from this source for a while. */
  shutOut(): void {
    this.#excess = 0;
    this.#budget.drain(this.#rate * SHUT_OUT_SECONDS);
  }

  #exceed(now: MonotonicMs): void {
    const tolerated = ((now - this.#exceededAt) * this.#rate * TOLERATED_EXCESS) / 1_000;
    this.#excess = Math.max(0, this.#excess - tolerated) + 1;
    this.#exceededAt = now;
  }

  /** A request of this source is refused: that costs more than one that is not. */
  charge(now: MonotonicMs): void {
    this.#budget.charge(REFUSAL_COST - 1, this.#rate * BURST_SECONDS, now);
  }

  /** What was charged for a request that was not refused after all. */
  refund(): void {
    this.#budget.refund(REFUSAL_COST - 1);
  }

  /** Its refusals have cost all of its budget. */
  owes(now: MonotonicMs): boolean {
    return this.#rate !== 0 && now < this.owedUntil && !this.#budget.has(now);
  }

  /** It holds as many connections as it may. */
  get isFull(): boolean {
    return this.connections.size >= this.maxConnections;
  }

  /** How much of what it may hold of connections it holds. */
  get crowding(): number {
    return this.connections.size / this.maxConnections;
  }

  /** Nothing is held against it any more. */
  forgettable(now: MonotonicMs): boolean {
    return this.connections.size === 0 && this.#budget.isFull(now);
  }
}

/** What {@link Sources} bounds. */
export interface SourceLimits {
  /** Requests a second from one pod's address; 0: no bound. */
  readonly rate: number;
  /** Connections open at once from one pod's address. Default is 256, or a quarter of all. */
  readonly connections?: number;
  /** Connections open at once in all. Default is 10,000. */
  readonly connectionsInAll?: number;
  /** Called when a connection makes room for another. */
  readonly onEviction?: () => void;
}

/**
 * Limits by source address: each may make so many requests a second, and hold so many
 * connections, so that one pod's flood is that pod's trouble.
 */
export class Sources {
  readonly #clock: Clock;
  readonly #limits: Required<SourceLimits>;
  readonly #sources = new Map<string, Source>();
  #connections = 0;
  #owedUntil: MonotonicMs = Number.NEGATIVE_INFINITY;
  readonly #own: OwnAddresses;

  constructor(clock: Clock, limits: SourceLimits) {
    this.#clock = clock;
    const { connectionsInAll = MAX_CONNECTIONS_IN_ALL } = limits;
    this.#limits = {
      connections: Math.min(MAX_CONNECTIONS, Math.ceil(connectionsInAll * MAX_SHARE)),
      connectionsInAll,
      onEviction: () => undefined,
      ...limits,
    };
    this.#own = new OwnAddresses(clock);
    const release = (socket: Socket) => {
      this.#connections -= 1;
      stateOf(socket).source?.connections.delete(socket);
    };
    this.#disconnected = function disconnected(this: Socket) {
      release(this);
    };
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#connections;
  }

  /** Whether it matters whose a new connection is; without a look at the clock. */
  get wary(): boolean {
    return (
      this.#connections >= this.#limits.connections || this.#owedUntil !== Number.NEGATIVE_INFINITY
    );
  }

  /** Whether {@link connected} would not take in a connection from an address, while {@link wary}. */
  turnsAway(address: string): boolean {
    const source = this.#sourceOf(address);
    if (source.owes(this.#clock.elapsed())) return true;
    return this.#connections >= this.#limits.connections && source.isFull;
  }

  /**
   * Takes in a new connection. While no more are open than one address may have, and nobody owes
   * for refusals, nobody has to know whose they are: to read an address costs a twentieth of a
   * whole answer.
   *
   * When there are as many as there may be in all, whoever holds most of what it may hold gives
   * one up: many pods that hoard connections must not lock out the others.
   *
   * @returns False when its address, or the node, has as many as it may have, and when its
   *   address owes for refusals: to answer it, even to turn it away, costs all others.
   */
  connected(socket: Socket): boolean {
    const { connections, connectionsInAll } = this.#limits;
    const crowded = this.#connections >= connections;
    const now = this.#clock.elapsed();
    if (now >= this.#owedUntil) this.#owedUntil = Number.NEGATIVE_INFINITY;
    if (this.wary) {
      const source = this.of(socket);
      if (source.owes(now)) return false;
      if (crowded) {
        if (source.isFull) return false;
        if (this.#connections >= connectionsInAll && !this.#makeRoom()) return false;
        source.connections.add(socket);
        stateOf(socket).source = source;
      }
    }
    this.#connections += 1;
    socket.on('close', this.#disconnected);
    return true;
  }

  /** Takes the price of a request; false when its source has used up its budget. */
  admit(socket: Socket): boolean {
    return this.of(socket).admit(this.#clock.elapsed());
  }

  /** A request of this connection waits for its answer, which it is not to lose. */
  waits(socket: Socket): void {
    stateOf(socket).waiting += 1;
  }

  /** What {@link waits} was told of has its answer. */
  answered(socket: Socket): void {
    stateOf(socket).waiting -= 1;
  }

  /** Closes the oldest connection that waits for nothing, of whoever holds most of its share. */
  #makeRoom(): boolean {
    const crowding = [...this.#sources.values()].filter(({ crowding }) => crowding > 0);
    for (const { connections } of crowding.sort((a, b) => b.crowding - a.crowding)) {
      for (const socket of connections) {
        if (stateOf(socket).waiting > 0) continue;
        socket.off('close', this.#disconnected);
        connections.delete(socket);
        this.#connections -= 1;
        socket.destroy();
        this.#limits.onEviction();
        return true;
      }
    }
    return false;
  }

  /** Charges the source of a connection for a request that was refused. */
  charge(socket: Socket): void {
    const source = this.of(socket);
    source.charge(this.#clock.elapsed());
    this.refused(source);
  }

  /** Remembers that a request was refused, for which its source has been charged. */
  refused(source: Source): void {
    source.owedUntil = this.#clock.elapsed() + OWED_FOR;
    this.#owedUntil = source.owedUntil;
  }

  /** The source of a connection; one that was reset before it was asked about has no address. */
  of(socket: Socket): Source {
    return this.#sourceOf(socket.remoteAddress ?? '');
  }

  /** One function for all connections: there are tens of thousands of them a second. */
  readonly #disconnected: (this: Socket) => void;

  /** Forgets addresses that nothing is held against. */
  sweep(): void {
    const now = this.#clock.elapsed();
    for (const [address, source] of this.#sources) {
      if (source.forgettable(now)) this.#sources.delete(address);
    }
  }

  #sourceOf(address: string): Source {
    const known = this.#sources.get(address);
    if (known !== undefined) return known;
    const name = this.#nameOf(address);
    return this.#sources.get(name) ?? this.#add(name, name === NODE ? NODE_FACTOR : 1);
  }

  /**
   * What an address counts as. Where one caller can take many addresses they have one name:
   *
   * - the node's own: host-network pods share these, and can take any of loopback's 16 million;
   * - IPv6 link-local ones: nobody routes them, so a pod can give itself as many as it likes, all of
   *   them on the link that leads to it.
   *
   * Any other address is one pod's, in IPv6 too: the node routes each by itself, not by prefix, to
   * the interface of its pod, so that answers to an address that a pod made up do not reach it.
   */
  #nameOf(address: string): string {
    const [, link] = address.split('%', 2);
    if (link !== undefined) return `%${link}`;
    if (this.#own.has(address)) return NODE;
    return canonicalAddress(address) ?? address;
  }

  #add(name: string, factor: number): Source {
    const { rate, connections } = this.#limits;
    const source = new Source(name, rate * factor, connections * factor);
    this.#sources.set(name, source);
    return source;
  }
}
