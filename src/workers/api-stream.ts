import type { MessagePort } from 'node:worker_threads';
import { describeFailure } from '../http/describe-failure.ts';
import { type GetRequest, headersOf, target } from '../http/get-request.ts';
import { outgoing } from './outgoing.ts';

/** A GET whose answer goes to the main thread as it comes in. */
export interface ApiStreamTask {
  readonly request: GetRequest;
  /** Asked for each piece of the answer; the stream ends when its other side is closed. */
  readonly port: MessagePort;
}

/** How the answer begins. `failure` is for the log: it quotes nothing of it. */
export type ApiStreamBegun =
  | { readonly status: number; readonly failure?: undefined }
  | { readonly failure: string };

/** The next of an answer, as the port says it. */
export type ApiStreamPiece =
  | { readonly piece: Uint8Array }
  | { readonly end: true }
  | { readonly failure: string };

/**
 * Task: begins a GET, and goes on after its own end with giving its answer through the port, a
 * piece for each message that comes in: what nobody takes is not read, so that an endless list
 * fills no memory.
 */
export async function apiStream({ request, port }: ApiStreamTask): Promise<ApiStreamBegun> {
  const unwanted = new AbortController();
  port.once('close', () => unwanted.abort());
  try {
    const { statusCode: status, body } = await outgoing(request).request({
      ...target(request.url),
      method: 'GET',
      headers: headersOf(request, 'application/json'),
      signal: unwanted.signal,
    });
    // Nobody may be waiting for the next piece when it is cut off.
    body.on('error', () => undefined);
    giveOnDemand(body, port);
    return { status };
  } catch (error) {
    port.close();
    return { failure: describeFailure(error) };
  }
}

function giveOnDemand(body: AsyncIterable<Uint8Array>, port: MessagePort): void {
  const pieces = body[Symbol.asyncIterator]();
  const give = (said: ApiStreamPiece) => port.postMessage(said);
  port.on('message', async () => {
    try {
      const { done, value } = await pieces.next();
      if (done) give({ end: true });
      else {
        // A copy, to be moved: cloning a view takes all that it is a view of along.
        const piece = new Uint8Array(value);
        port.postMessage({ piece } satisfies ApiStreamPiece, [piece.buffer]);
      }
    } catch (error) {
      give({ failure: describeFailure(error) });
    }
  });
}
