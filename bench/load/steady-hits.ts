import { Agent, request } from 'node:http';
import type { Socket } from 'node:net';
import type { DurationMs, EpochMs } from '../../src/clock.ts';
import { type Address, POD_HOST, tryOnce } from './one-try.ts';

/** Requests for credentials at a steady rate, whether or not the answers keep up. */
export interface SteadyLoad {
  readonly target: Address;
  /** Sent in turn. */
  readonly tokens: readonly string[];
  /** The right answer for each token; any other counts as wrong. */
  readonly bodies: readonly string[];
  /**
   * Connections that are opened before the first request is due, and kept: a request that finds
   * all of them busy waits for one. `each`: every request opens one of its own.
   */
  readonly connections: number | 'each';
  readonly perSecond: number;
  readonly seconds: number;
}

/** A hit, and when it was answered. Milliseconds, `at` since the epoch. */
export interface Hit {
  readonly at: EpochMs;
  readonly took: DurationMs;
}

/** What came of a steady load. */
export interface SteadyHits {
  readonly hits: readonly Hit[];
  /** How late this process itself was, sampled all the time: what it measured is off by that. */
  readonly late: readonly Hit[];
  readonly failed: number;
  readonly refused: number;
  readonly wrong: number;
  /** Requests that had to open a connection anew, because the target had closed a kept one. */
  readonly reconnected: number;
}

/** How requests are sent. */
interface Sender {
  send(token: string): Promise<Sent>;
  end(): void;
}

interface Sent {
  /** 0 where there was no answer. */
  readonly status: number;
  readonly body: string;
  readonly reconnected: boolean;
}

/** How long a request on a connection of its own waits. */
const PATIENCE: DurationMs = 30_000;

/** How often a process looks whether it is late, and sends what is due. */
const LOOK_EVERY: DurationMs = 1;

/**
 * Runs a load whose requests are due one after the other at equal distances. Each is timed from
 * when it was due, so that no answer is left out for being waited for; a rate that a tool keeps
 * by sending a second's requests at once would look at the target once a second.
 */
export async function steadyHits(load: SteadyLoad): Promise<SteadyHits> {
  const now = () => performance.timeOrigin + performance.now();
  const sender =
    load.connections === 'each' ? eachOnItsOwn(load) : await keepingOpen(load, load.connections);
  const hits: Hit[] = [];
  const late: Hit[] = [];
  const count = { failed: 0, refused: 0, wrong: 0, reconnected: 0 };
  const began = now();
  const all = Math.floor(load.perSecond * load.seconds);
  const waiting: Promise<void>[] = [];
  const hit = async (index: number): Promise<void> => {
    const due = began + (index * 1_000) / load.perSecond;
    const token = load.tokens[index % load.tokens.length] as string;
    const answer = await sender.send(token);
    const at = now();
    hits.push({ at, took: at - due });
    if (answer.reconnected) count.reconnected += 1;
    if (answer.status === 0) count.failed += 1;
    else if (answer.status !== 200) count.refused += 1;
    else if (answer.body !== load.bodies[index % load.tokens.length]) count.wrong += 1;
  };
  const { promise: sent, resolve } = Promise.withResolvers<void>();
  let expected = began + LOOK_EVERY;
  const looking = setInterval(() => {
    const at = now();
    late.push({ at, took: Math.max(0, at - expected) });
    expected = at + LOOK_EVERY;
    while (waiting.length < all && began + (waiting.length * 1_000) / load.perSecond <= at) {
      waiting.push(hit(waiting.length));
    }
    if (waiting.length === all) resolve();
  }, LOOK_EVERY);
  await sent;
  await Promise.all(waiting);
  clearInterval(looking);
  sender.end();
  return { hits, late, ...count };
}

function eachOnItsOwn({ target }: SteadyLoad): Sender {
  return {
    send: async (token) => {
      const { status, body } = await tryOnce(target, token, {
        patience: PATIENCE,
        connection: 'close',
      });
      return { status, body, reconnected: false };
    },
    end: () => undefined,
  };
}

/** Opens connections by as many requests at once, and sends on them, each in its turn. */
async function keepingOpen({ target, tokens }: SteadyLoad, connections: number): Promise<Sender> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections, scheduling: 'fifo' });
  const opened = new Set<Socket>();
  const send = (token: string) =>
    askOnce(target, token, agent, opened).catch(() => ({ status: 0, body: '', reconnected: true }));
  await Promise.all(
    Array.from({ length: connections }, (_, index) =>
      send(tokens[index % tokens.length] as string),
    ),
  );
  return { send, end: () => agent.destroy() };
}

/** One request on a connection of the agent's; adds it to those that were used before. */
function askOnce(
  { host, port }: Address,
  token: string,
  agent: Agent,
  used: Set<Socket>,
): Promise<Sent> {
  const { promise, resolve, reject } = Promise.withResolvers<Sent>();
  const headers = { Authorization: token, Host: POD_HOST };
  const asked = request({ host, port, path: '/v1/credentials', headers, agent });
  // The agent's own `reusedSocket` is not set of a request that had to wait for its connection.
  let reconnected = false;
  asked.on('socket', (socket) => {
    reconnected = !used.has(socket);
    used.add(socket);
  });
  asked.on('error', reject);
  asked.on('response', (response) => {
    let body = '';
    response.setEncoding('latin1').on('data', (text: string) => {
      body += text;
    });
    response.on('error', reject);
    response.on('end', () => resolve({ status: response.statusCode ?? 0, body, reconnected }));
  });
  asked.end();
  return promise;
}
