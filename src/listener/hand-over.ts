import type { IncomingMessage, ServerResponse } from 'node:http';
import { createInterface } from 'node:readline';
import type {
  FlushChoice,
  KeptCredentials,
  StoredSession,
} from '../session-store/session-store.ts';

/** The form of what goes over; a broker that speaks another takes over without the sessions. */
export const HAND_OVER_VERSION = 1;

/** Where a successor asks, on the admin socket. */
export const HAND_OVER_PATH = '/hand-over';

/** A session that goes over, with its credentials and without its pods' tokens. */
export interface HandedSession {
  readonly session: StoredSession;
  /** Without a version where it is of a broker that does not know of them. */
  readonly kept: Omit<KeptCredentials, 'version'> & Partial<Pick<KeptCredentials, 'version'>>;
}

/** What a successor says of itself: only a broker of the same cluster and port hands over. */
export interface Successor {
  readonly clusterName: string;
  readonly port: number;
  /** Its `--ready-id`, which it shares with all brokers of its pod template. */
  readonly readyId?: string | undefined;
}

/** Why a broker does not hand over. */
export interface HandOverRefusal {
  readonly refused: string;
  /** It may a moment later. Default is false. */
  readonly later?: boolean;
}

/** What a broker says to its successor first. */
export interface HandOverOffer {
  readonly version: number;
  readonly sessions?: readonly HandedSession[];
  /** The `--ready-id` of the broker that hands over. */
  readonly readyId?: string | undefined;
  /** Why there is no hand-over. */
  readonly refused?: string;
  /** There may be one a moment later. */
  readonly later?: boolean;
}

/** What a broker hands over. */
export interface HandedState {
  readonly sessions: readonly HandedSession[];
  readonly readyId: string | undefined;
}

/** A flush that came when the sessions had been handed over: the successor has to be asked. */
export class HandedOverError extends Error {
  override readonly name = 'HandedOverError';
  readonly code = 'ERR_HANDED_OVER';

  constructor() {
    super('another broker has taken over meanwhile, and has not been flushed: flush again');
  }
}

/** How a broker lets its successor take over. */
export interface HandOverActions {
  /**
   * A successor is there: from now on it is the one that renews and is flushed.
   *
   * @returns What it hands over, or why it does not.
   */
  offer(successor: Partial<Successor>): HandedState | HandOverRefusal;
  /** The operator has the successor let go of sessions: so does this broker, which still answers. */
  flush(chosen: FlushChoice): Promise<void>;
  /** The successor answers pods: lets go of the ports that cannot be shared. */
  release(): Promise<void>;
  /** The successor is gone, and this broker was not stopped: it is the only one again. */
  reclaim(): Promise<void>;
}

/**
 * Hands over to a successor, in one exchange of lines of JSON that lasts until one of the two
 * processes is gone:
 *
 * - `{version, clusterName, port, readyId}` from the successor, `{version, sessions, readyId}` back
 *   (or `{version, refused, later}`),
 * - `{release: true}` once it answers pods, `{released: true}` back,
 * - for each flush that it takes, `{flush: {namespace, serviceAccount}}`, `{flushed: true}` back.
 *
 * @throws What an action failed with, which ends the exchange as well.
 */
export async function handOver(
  request: IncomingMessage,
  response: ServerResponse,
  actions: HandOverActions,
): Promise<void> {
  const say = (line: object) => response.write(`${JSON.stringify(line)}\n`);
  response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
  response.flushHeaders();
  let offered = false;
  let failure: unknown;
  try {
    for await (const line of createInterface({ input: request })) {
      const asked = readLine(line);
      if (offered) {
        if (asked?.release === true) {
          await actions.release();
          say({ released: true });
        } else if (typeof asked?.flush === 'object' && asked.flush !== null) {
          await actions.flush(asked.flush);
          say({ flushed: true });
        } else break;
        continue;
      }
      const offer = actions.offer(asked ?? {});
      if ('refused' in offer) {
        say({ version: HAND_OVER_VERSION, ...offer } satisfies HandOverOffer);
        break;
      }
      offered = true;
      const known = asked?.version === HAND_OVER_VERSION;
      say({
        version: HAND_OVER_VERSION,
        sessions: known ? offer.sessions : [],
        readyId: offer.readyId,
      } satisfies HandOverOffer);
    }
  } catch (error) {
    // The successor's connection was cut, which is how one that died is heard of.
    if (error !== request.errored) failure = error;
  }
  response.end();
  if (offered) await actions.reclaim();
  if (failure !== undefined) throw failure;
}

function readLine(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
}
