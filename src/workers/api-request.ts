import { describeFailure } from '../http/describe-failure.ts';
import { exchange } from '../http/exchange.ts';
import { type GetRequest, headersOf, target } from '../http/get-request.ts';
import { outgoing } from './outgoing.ts';

/** The API server writes other formats as well; this is what it is asked for. */
const JSON_TYPE = 'application/json';

/** One request to the API server; plain values only. */
export interface ApiRequestTask {
  /** Where to, as who, and for how long at most. */
  readonly request: GetRequest;
  /** Bytes of the answer's body at most. */
  readonly maxBytes: number;
  /** A JSON patch (RFC 6902) to apply; undefined: the object is read. */
  readonly patch?: string | undefined;
}

/** What came of it. `failure` is for the log: it quotes nothing of the answer. */
export type ApiOutcome =
  | { readonly status: number; readonly body: Uint8Array; readonly failure?: undefined }
  | { readonly failure: string };

/** Task: reads or patches an object of the API server, bounded in size and time. */
export async function apiRequest(task: ApiRequestTask): Promise<ApiOutcome> {
  const { request, maxBytes, patch } = task;
  const headers = headersOf(request, JSON_TYPE);
  try {
    const { status, body } = await exchange(
      outgoing(request),
      {
        ...target(request.url),
        ...(patch === undefined
          ? { method: 'GET', headers }
          : {
              method: 'PATCH',
              headers: { ...headers, 'content-type': 'application/json-patch+json' },
              body: patch,
            }),
      },
      { timeout: request.timeout, maxBytes },
    );
    // A copy: cloning a view takes all that it is a view of along.
    return { status, body: new Uint8Array(body) };
  } catch (error) {
    return { failure: describeFailure(error) };
  }
}
